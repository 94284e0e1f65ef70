{{ config(
    unique_key='period_id',
    meta={'replaces': 'later periods too'},
) }}

{{ cohorts() }}
