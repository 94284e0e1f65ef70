{% macro run_window() %}
    {%- if not (var.has_var('ds') or var.has_var('ds_start') or var.has_var('ds_end')) -%}
        {{ return(_window_of_environment()) }}
    {%- elif var.has_var('ds') and not (var.has_var('ds_start') or var.has_var('ds_end')) -%}
        {{ return(_window('ds', var('ds'), 'ds', var('ds'))) }}
    {%- elif var.has_var('ds_start') and var.has_var('ds_end') and not var.has_var('ds') -%}
        {{ return(_window('ds_start', var('ds_start'), 'ds_end', var('ds_end'))) }}
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            "a run takes either ds, or ds_start and ds_end together, or none of them"
        ) }}
    {%- endif -%}
{% endmacro %}
