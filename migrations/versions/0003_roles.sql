-- Creates no role: a migration runs once, and roles may be wanted later, or never. What it brings is
-- the procedure that `make roles` calls (docs/decisions/0004-roles.md).

create procedure staging.create_roles()
language plpgsql
as $procedure$
declare
    -- Roles belong to the server, the rights to this database: so its name is in theirs.
    loader constant text := current_database() || '_loader';
    transformer constant text := current_database() || '_transformer';
    reader constant text := current_database() || '_reader';
    role_name text;
    relation regclass;
begin
    perform pg_advisory_xact_lock(hashtext('migrations'));

    if to_regclass('mart.d_customer') is null then
        raise exception 'mart.d_customer is not there yet, so its names cannot be hidden'
            using hint = 'First create the empty marts: dbt run --empty';
    end if;
    if octet_length(transformer) > 63 then
        raise exception 'the name of database % is too long to name roles after it',
            current_database();
    end if;

    foreach role_name in array array[loader, transformer, reader] loop
        if not exists (select from pg_roles where rolname = role_name) then
            -- Without a password, which would end up in logs: psql's \password gives it one.
            execute format('create role %I login', role_name);
        end if;
        -- To hand the marts over, to set another's default privileges, to take it all back.
        execute format('grant %I to current_user', role_name);
    end loop;

    -- The whole definition is here: no grant on columns, or `select *` would fail for readers.
    create or replace view mart.d_customer_masked as
    select
        customer_id,
        left(first_name, 1) || '***' as first_name,
        left(last_name, 1) || '***' as last_name,
        city_id
    from mart.d_customer;
    comment on view mart.d_customer_masked is
    'Who buys, of the names the first letter only. One row per customer_id.';

    -- Staging stays with whoever migrates it. Its order lines hold names, too.
    revoke all on schema staging from public;
    execute format('grant usage on schema staging to %I, %I', loader, transformer);
    execute format(
        'grant select, insert, update, delete on all tables in schema staging to %I', loader
    );
    execute format('revoke insert, update, delete on staging.alembic_version from %I', loader);
    execute format('grant usage on all sequences in schema staging to %I', loader);
    execute format('grant select on all tables in schema staging to %I', transformer);
    -- For what later migrations create.
    execute format(
        'alter default privileges in schema staging'
        ' grant select, insert, update, delete on tables to %I', loader
    );
    execute format(
        'alter default privileges in schema staging grant usage on sequences to %I', loader
    );
    execute format(
        'alter default privileges in schema staging grant select on tables to %I', transformer
    );

    -- The marts belong to whoever builds them.
    execute format('alter schema mart owner to %I', transformer);
    for relation in
        select oid from pg_class
        where relnamespace = 'mart'::regnamespace
            and relkind in ('r', 'p', 'v', 'm')
            -- A table that is handed over keeps readers waiting for a moment.
            and relowner <> transformer::regrole
    loop
        execute format('alter table %s owner to %I', relation, transformer);
    end loop;
    execute format('grant usage on schema mart to %I', reader);
    -- By name: what else stands here, a view of the shop's own for instance, may show names.
    execute format(
        'grant select on mart.d_calendar, mart.d_city, mart.d_item, mart.f_sales,'
        ' mart.f_customer_retention, mart.d_customer_masked to %I', reader
    );
    execute format('revoke all on mart.d_customer from public, %I', reader);
    -- Default privileges apply to what the role named here creates, and to nobody else's tables.
    execute format(
        'alter default privileges for role %I in schema mart grant select on tables to %I',
        transformer, reader
    );

    raise notice 'roles %, % and %: give them passwords with \password',
        loader, transformer, reader;
end
$procedure$;

comment on procedure staging.create_roles is
'Creates the roles <database>_loader, _transformer and _reader, or brings their rights up to date.';
