-- What imagen needs in a Supabase project: a table of images, a private bucket for them, a copy of
-- the ledger, and a table into which users put jobs. Run it in the project's SQL editor. It can be
-- run again at any time, and leaves existing objects unchanged. If the configuration has other names
-- (cloud.bucket, cloud.db_schema, cloud.db_table, cloud.jobs.bucket, usage.mirror_schema,
-- usage.mirror_table), change them here too. Afterwards expose the schemas imagen and mai: see
-- docs/how-to/upload-to-supabase.md and docs/how-to/take-jobs-from-supabase.md.

begin;

-- Images -------------------------------------------------------------------------------------------

create schema if not exists imagen;

create table if not exists imagen.images (
    id uuid primary key,
    owner_user_id uuid not null,
    bucket text not null,
    path text not null,
    prompt text,
    prompt_sha256 text,
    backend text not null,
    model text,
    -- 0 to 2^64 - 1, which does not fit any integer type of PostgreSQL.
    seed numeric(20, 0),
    steps integer,
    width integer,
    height integer,
    latency_seconds double precision,
    -- The image's share of the cost of its generation; null means unknown, never zero.
    cost_usd numeric,
    sidecar jsonb not null default '{}'::jsonb,
    tags text[] not null default '{}',
    created_at timestamptz not null default now()
);

create index if not exists images_by_owner on imagen.images (owner_user_id, created_at desc);
create index if not exists images_by_place on imagen.images (bucket, path);
create index if not exists images_by_prompt on imagen.images (prompt_sha256);
create index if not exists images_by_tag on imagen.images using gin (tags);

alter table imagen.images enable row level security;

drop policy if exists "owners see their pictures" on imagen.images;
create policy "owners see their pictures" on imagen.images
    for select to authenticated
    using ((select auth.uid()) = owner_user_id);

drop policy if exists "the service does everything" on imagen.images;
create policy "the service does everything" on imagen.images
    for all to service_role
    using (true)
    with check (true);

grant usage on schema imagen to authenticated, service_role;
grant select on imagen.images to authenticated;
grant select, insert, update, delete on imagen.images to service_role;

-- Image files --------------------------------------------------------------------------------------

insert into storage.buckets (id, name, public, allowed_mime_types)
values (
    'imagen-generated',
    'imagen-generated',
    false,
    array[
        'image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/avif', 'image/bmp', 'image/tiff'
    ]
)
on conflict (id) do nothing;

drop policy if exists "owners see their pictures of imagen" on storage.objects;
create policy "owners see their pictures of imagen" on storage.objects
    for select to authenticated
    using (
        bucket_id = 'imagen-generated'
        and exists (
            select 1
            from imagen.images as image
            where image.bucket = objects.bucket_id
                and image.path = objects.name
                and image.owner_user_id = (select auth.uid())
        )
    );

drop policy if exists "the service keeps the pictures of imagen" on storage.objects;
create policy "the service keeps the pictures of imagen" on storage.objects
    for all to service_role
    using (bucket_id = 'imagen-generated')
    with check (bucket_id = 'imagen-generated');

-- Jobs ----------------------------------------------------------------------------------------------
-- Users insert requests, and may cancel them. Everything else is written by `imagen worker
-- --supabase`, through the functions below.

create table if not exists imagen.jobs (
    id uuid primary key default gen_random_uuid(),
    owner_user_id uuid not null default auth.uid(),
    request jsonb not null,
    -- A backend or a pool; null is the first one that the workers allow.
    backend text,
    -- The highest first. Users can only step back.
    priority integer not null default 0,
    cancel boolean not null default false,
    created_at timestamptz not null default now(),

    state text not null default 'waiting',
    -- {"stage": "running", "fraction": 0.5}
    progress jsonb,
    -- {"code": "request", "message": "..."}
    error jsonb,
    -- [{"id": "...", "bucket": "...", "path": "...", "width": 1024, "height": 1024, "seed": "7"}]
    images jsonb not null default '[]'::jsonb,
    started_at timestamptz,
    ended_at timestamptz,
    -- The library whose workers make it. No other library ever gets it: it may have been paid for.
    taken_by uuid,

    -- One request must not stop all: at most 32 KiB, 8 levels, and numbers that any program reads.
    constraint jobs_request check (
        jsonb_typeof(request) = 'object'
        and octet_length(request::text) <= 32768
        and not jsonb_path_exists(request, '$.**{8}')
        and not jsonb_path_exists(
            request,
            '$.** ? (@.type() == "number" && (@ > 18446744073709551616 || @ < -18446744073709551616))'
        )
    ),
    constraint jobs_backend check (length(backend) between 1 and 200),
    constraint jobs_priority check (priority between -1000 and 1000),
    constraint jobs_state check (
        state in ('waiting', 'taken', 'queued', 'running', 'done', 'failed', 'cancelled')
    )
);

create index if not exists jobs_by_owner on imagen.jobs (owner_user_id, created_at desc);
create index if not exists jobs_waiting on imagen.jobs (priority desc, created_at)
    where state = 'waiting';
create index if not exists jobs_open on imagen.jobs (taken_by)
    where state in ('taken', 'queued', 'running');
create index if not exists jobs_open_by_owner on imagen.jobs (owner_user_id)
    where state in ('waiting', 'taken', 'queued', 'running');

-- How many jobs of the user have not ended. A policy cannot count the rows of its own table.
create or replace function imagen.count_my_open_jobs() returns bigint
language sql stable security definer set search_path = ''
as $$
    select count(*) from imagen.jobs
    where owner_user_id = (select auth.uid())
        and state in ('waiting', 'taken', 'queued', 'running')
$$;

-- The jobs that a library is to queue: the best waiting ones, and those that it took before but did
-- not confirm.
create or replace function imagen.claim_jobs(library uuid, most integer)
returns setof imagen.jobs
language plpgsql volatile set search_path = ''
as $$
begin
    update imagen.jobs set state = 'cancelled', ended_at = now()
    where state = 'waiting' and cancel;
    update imagen.jobs set state = 'taken', taken_by = library
    where id in (
        select id from imagen.jobs
        where state = 'waiting'
        order by priority desc, created_at, id
        limit least(greatest(most, 0), 1000)
        for update skip locked
    );
    return query
        select * from imagen.jobs
        where state = 'taken' and taken_by = library
        order by priority desc, created_at, id;
end
$$;

-- Write what became of jobs of a library, and return those that have not ended. A report is
-- {"id", "state", "progress", "error", "images"}; one about an ended job has no effect.
create or replace function imagen.report_jobs(library uuid, reports jsonb)
returns table (id uuid, owner_user_id uuid, state text, cancel boolean)
language plpgsql volatile set search_path = ''
as $$
#variable_conflict use_column
begin
    update imagen.jobs as job
    set state = report.state,
        progress = report.progress,
        error = report.error,
        images = coalesce(report.images, '[]'::jsonb),
        started_at = case
            when report.state in ('running', 'done') then coalesce(job.started_at, now())
            else job.started_at
        end,
        ended_at = case when report.state in ('done', 'failed', 'cancelled') then now() end
    from jsonb_to_recordset(reports)
        as report (id uuid, state text, progress jsonb, error jsonb, images jsonb)
    where job.id = report.id
        and job.taken_by = library
        and job.state in ('taken', 'queued', 'running');
    return query
        select job.id, job.owner_user_id, job.state, job.cancel from imagen.jobs as job
        where job.taken_by = library and job.state in ('taken', 'queued', 'running')
        order by job.created_at, job.id;
end
$$;

revoke execute on function imagen.count_my_open_jobs() from public, anon;
revoke execute on function imagen.claim_jobs(uuid, integer) from public, anon, authenticated;
revoke execute on function imagen.report_jobs(uuid, jsonb) from public, anon, authenticated;
grant execute on function imagen.count_my_open_jobs() to authenticated;
grant execute on function imagen.claim_jobs(uuid, integer) to service_role;
grant execute on function imagen.report_jobs(uuid, jsonb) to service_role;

alter table imagen.jobs enable row level security;

drop policy if exists "owners see their jobs" on imagen.jobs;
create policy "owners see their jobs" on imagen.jobs
    for select to authenticated
    using ((select auth.uid()) = owner_user_id);

drop policy if exists "owners add jobs" on imagen.jobs;
create policy "owners add jobs" on imagen.jobs
    for insert to authenticated
    with check (
        (select auth.uid()) = owner_user_id
        and priority <= 0
        and imagen.count_my_open_jobs() < 100
    );

drop policy if exists "owners cancel their jobs" on imagen.jobs;
create policy "owners cancel their jobs" on imagen.jobs
    for update to authenticated
    using (
        (select auth.uid()) = owner_user_id
        and state in ('waiting', 'taken', 'queued', 'running')
    )
    with check ((select auth.uid()) = owner_user_id and cancel);

drop policy if exists "the service does everything" on imagen.jobs;
create policy "the service does everything" on imagen.jobs
    for all to service_role
    using (true)
    with check (true);

grant select on imagen.jobs to authenticated;
grant insert (id, owner_user_id, request, backend, priority) on imagen.jobs to authenticated;
grant update (cancel) on imagen.jobs to authenticated;
grant select, insert, update, delete on imagen.jobs to service_role;

-- The images that requests name: each user's in a folder that is named by the user's id.
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
values (
    'imagen-inputs',
    'imagen-inputs',
    false,
    52428800,
    array['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/avif', 'image/bmp']
)
on conflict (id) do nothing;

drop policy if exists "owners keep the inputs of their jobs" on storage.objects;
create policy "owners keep the inputs of their jobs" on storage.objects
    for all to authenticated
    using (
        bucket_id = 'imagen-inputs'
        and (storage.foldername(name))[1] = (select auth.uid())::text
    )
    with check (
        bucket_id = 'imagen-inputs'
        and (storage.foldername(name))[1] = (select auth.uid())::text
    );

-- The ledger --------------------------------------------------------------------------------------

create schema if not exists mai;

create table if not exists mai.imagen_usage (
    -- The id of the generation.
    id uuid primary key,
    created_at timestamptz not null default now(),
    backend text not null,
    model text,
    seed numeric(20, 0),
    -- SHA-256; never the prompt itself.
    prompt_hash text,
    latency_ms bigint,
    -- The expected cost; null means unknown, never zero.
    cost_usd_estimate numeric,
    caller text
);

-- Optional columns, and columns that an older table lacks.
alter table mai.imagen_usage
    add column if not exists prompt_hash text,
    add column if not exists latency_ms bigint,
    add column if not exists cost_usd_estimate numeric,
    add column if not exists images integer,
    add column if not exists actual_cost numeric,
    add column if not exists currency text;

create index if not exists imagen_usage_by_time on mai.imagen_usage (created_at desc);
create index if not exists imagen_usage_by_caller on mai.imagen_usage (caller);

alter table mai.imagen_usage enable row level security;

drop policy if exists "the service does everything" on mai.imagen_usage;
create policy "the service does everything" on mai.imagen_usage
    for all to service_role
    using (true)
    with check (true);

grant usage on schema mai to service_role;
grant select, insert, update, delete on mai.imagen_usage to service_role;

commit;

-- Tell PostgREST to reload its schema.
notify pgrst, 'reload schema';
