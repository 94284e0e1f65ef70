{% macro lock_mart(relation) %}
    {#-
    Lets one run at a time replace rows of a mart. Other runs wait; readers do not. A run takes the
    lock before it reads its batch, so the second run reads what the first has committed. The lock
    ends with the transaction, even if the run is killed.
    -#}
    {%- set name = relation.schema ~ '.' ~ relation.identifier -%}
    do $$
    begin
        perform pg_advisory_xact_lock(hashtext('{{ name }}'));
    exception when lock_not_available then
        raise exception '{{ name }} is being replaced by another run: %', (
            select string_agg(
                format(
                    '%s, process %s on %s, since %s',
                    activity.application_name, activity.pid,
                    coalesce(host(activity.client_addr), 'this host'), activity.xact_start
                ), '; '
            )
            from pg_locks
            inner join pg_stat_activity as activity using (pid)
            where pg_locks.locktype = 'advisory' and pg_locks.granted and pg_locks.objsubid = 1
                and activity.datname = current_database()
                -- pg_locks shows an advisory key of 64 bits as two halves.
                and pg_locks.classid::bigint << 32 | pg_locks.objid::bigint
                    = hashtext('{{ name }}')::bigint
        );
    end
    $$
{% endmacro %}
