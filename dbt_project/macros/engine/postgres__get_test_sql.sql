{% macro postgres__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) %}
    {#- An account's own time limit is meant for queries by people. -#}
    set local statement_timeout = '1h';
    {{ dbt.default__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) }}
{% endmacro %}
