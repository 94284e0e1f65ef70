{% macro keep_published() %}
    {#-
    Copies the rows that the run is about to replace; log_restatements() compares them later.
    -#}
    {%- if is_incremental() and not flags.EMPTY -%}
        {#- A table of an older version may lack figures. -#}
        {%- do bring_to_contract(this) -%}
    create temporary table published on commit drop as
    select * from {{ this }} where {{ in_window('period_id') }}
    {%- endif -%}
{% endmacro %}
