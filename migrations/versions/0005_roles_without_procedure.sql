-- Migration 0003 had made it. What somebody else has made under this name stays.

do $$
begin
    if obj_description(to_regprocedure('staging.create_roles()'), 'pg_proc') =
        'Creates the roles <database>_loader, _transformer and _reader, or brings their rights up to date.'
    then
        drop procedure staging.create_roles();
    end if;
end
$$;
