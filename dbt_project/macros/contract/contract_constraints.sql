{% macro contract_constraints() %}
    {%- if not execute -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set told = [] -%}
    {%- set models = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') -%}
    {%- for mart in models if mart.contract.enforced -%}
        {%- set constraints = [] -%}
        {%- for column in mart.columns.values() -%}
            {%- for constraint in column.constraints -%}
                {%- do constraints.append((constraint, [column.name])) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- for constraint in mart.constraints -%}
            {%- do constraints.append((constraint, constraint.columns)) -%}
        {%- endfor -%}
        {%- for constraint, columns in constraints -%}
            {%- if constraint.type not in ('not_null', 'primary_key', 'foreign_key') -%}
                {{ exceptions.raise_compiler_error(
                    mart.name ~ " has a constraint of type " ~ constraint.type ~ ": teach the tests"
                    ~ " holds_its_constraints and assert_constraints_are_there what that is"
                ) }}
            {%- endif -%}
            {%- do told.append({
                'schema': mart.schema,
                'mart': mart.alias,
                'type': constraint.type | string,
                'columns': columns,
                'to_mart': _mart_in(constraint.to),
                'to_columns': constraint.to_columns,
            }) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(told) }}
{% endmacro %}
