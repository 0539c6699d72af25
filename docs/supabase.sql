-- What imagen needs in a Supabase project: a table of images, a private bucket for them, and a copy
-- of the ledger. Run it in the project's SQL editor. It can be run again at any time, and leaves
-- existing objects unchanged. If the configuration has other names (cloud.bucket, cloud.db_schema,
-- cloud.db_table, usage.mirror_schema, usage.mirror_table), change them here too. Afterwards expose
-- the schemas imagen and mai: see docs/how-to/upload-to-supabase.md.

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
