{% macro run_window() %}
    {%- if not (var.has_var('ds') or var.has_var('ds_start') or var.has_var('ds_end')) -%}
        {{ return(none) }}
    {%- elif var.has_var('ds') and not (var.has_var('ds_start') or var.has_var('ds_end')) -%}
        {%- set day = _parse_day('ds') -%}
        {{ return({'first': day, 'last': day}) }}
    {%- elif var.has_var('ds_start') and var.has_var('ds_end') and not var.has_var('ds') -%}
        {%- set first, last = _parse_day('ds_start'), _parse_day('ds_end') -%}
        {%- if first > last -%}
            {{ exceptions.raise_compiler_error(
                "ds_start " ~ first ~ " is after ds_end " ~ last
            ) }}
        {%- endif -%}
        {{ return({'first': first, 'last': last}) }}
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            "a run takes either ds, or ds_start and ds_end together, or none of them"
        ) }}
    {%- endif -%}
{% endmacro %}
