{% test holds_its_constraints(model) %}
-- Fails if rows break constraints of the contract, which is possible if the database lacks them.
-- Gives one row for each broken constraint.
    {%- set constraints = contract_constraints() | selectattr('mart', 'equalto', model.identifier) %}
with broken as (

    {%- for constraint in constraints %}
        {%- set columns = constraint.columns | join(', ') %}
        {%- if not loop.first %}
    union all
        {%- endif %}
    select
        '{{ constraint.type }} {{ columns }}' as constraint_name,
        count(*) as row_count
        {%- if constraint.type == 'not_null' %}
    from {{ model }}
    where {{ columns }} is null
        {%- elif constraint.type == 'primary_key' %}
    from (
        select {{ columns }} from {{ model }} group by {{ columns }} having count(*) > 1
    ) as repeated
        {%- else %}
    from {{ model }} as referring
    where referring.{{ constraint.columns | join(' is not null and referring.') }} is not null
        and not exists (
            select 1
            from {{ model.incorporate(path={'identifier': constraint.to_mart}) }} as referred
            where (referred.{{ constraint.to_columns | join(', referred.') }})
                = (referring.{{ constraint.columns | join(', referring.') }})
        )
        {%- endif %}
    {%- endfor %}

)

select * from broken where row_count > 0
{% endtest %}
