-- Rejected lines can be judged again after a fix; nothing is deleted by that.

alter table staging.delivery add column header text;

comment on column staging.delivery.header is
'The first line of the file, by which rejected lines are read again; null before this column was.';

alter table staging.quarantine
add column replayed_at timestamptz,
add column replayed_as varchar(10) check (replayed_as in ('loaded', 'repeated')),
add column corrected_line text,
add check ((replayed_at is null) = (replayed_as is null));

comment on table staging.quarantine is
'One row per rejected line of a delivery. line_number counts lines of the file, the header being 1. '
'Those with replayed_at were accepted later: delivery.rejected counts the others.';
comment on column staging.quarantine.corrected_line is
'What was loaded in place of raw_line, where they differ.';
