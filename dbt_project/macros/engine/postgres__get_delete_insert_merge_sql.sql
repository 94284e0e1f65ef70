{% macro postgres__get_delete_insert_merge_sql(
    target, source, unique_key, dest_columns, incremental_predicates
) %}
    {#-
    dbt's own deletes the keys of the new batch, so a day or period whose last row has vanished
    would keep its old rows. This macro deletes the run's window, whatever the batch holds.
    `--empty` reads nothing, so it must delete nothing.
    -#}
    {%- set columns = get_quoted_csv(dest_columns | map(attribute='name')) -%}
    {%- set meta = config.get('meta') or {} -%}
    {%- if not flags.EMPTY %}
    delete from {{ target }}
    where {{ in_window(unique_key, later_too=meta.get('replaces') == 'later periods too') }}
        {%- for predicate in incremental_predicates or [] %} and {{ render(predicate) }}{% endfor %};
    {%- endif %}
    insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ source }};
{% endmacro %}
