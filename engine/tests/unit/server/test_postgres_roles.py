"""A role that may write one synced table runs our functions, and nothing of its own by them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from holdfast.testing.postgres import PostgresCluster

INSERT = (
    "INSERT INTO {schema}.product (id, sku) VALUES ('p1', 's1'); "
    "UPDATE {schema}.product SET name = 'by hand'; "
    "DELETE FROM {schema}.product; "
    "INSERT INTO {schema}.product (id, sku) VALUES ('p2', 's2')"
)
EVIL = (
    "CREATE FUNCTION pg_temp.evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "RAISE NOTICE 'ran as %', current_user; RETURN NEW; END $$; "
    "CREATE FUNCTION pg_temp.evil(anyelement) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN "
    "RAISE NOTICE 'ran as %', current_user; RETURN true; END $$; "
)
DIRTY = (
    "(number bigserial, tbl text, key text, was boolean, old text, scope text, "
    "CHECK (pg_temp.evil(tbl)))"
)
# What its session may call like something that a capture function uses.
SHADOWS = {
    "table": f"CREATE TEMP TABLE holdfast_dirty {DIRTY}; "
    "GRANT ALL ON pg_temp.holdfast_dirty TO PUBLIC; "
    "GRANT ALL ON ALL SEQUENCES IN SCHEMA pg_temp TO PUBLIC; "
    "CREATE TRIGGER t BEFORE INSERT ON pg_temp.holdfast_dirty "
    "FOR EACH ROW EXECUTE FUNCTION pg_temp.evil()",
    "view": f"CREATE TEMP TABLE kept {DIRTY}; CREATE TEMP VIEW holdfast_dirty AS "
    "SELECT * FROM pg_temp.kept WHERE pg_temp.evil(tbl); "
    "GRANT ALL ON ALL TABLES IN SCHEMA pg_temp TO PUBLIC",
    "synced table": "CREATE TEMP TABLE product (LIKE {schema}.product)",
    "sequence": "CREATE TEMP SEQUENCE holdfast_dirty_number_seq",
    "type": "CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.evil(VALUE)); "
    "CREATE DOMAIN pg_temp.bool AS pg_catalog.bool CHECK (pg_temp.evil(VALUE))",
    "function": "CREATE FUNCTION pg_temp.row_to_json(record) RETURNS json LANGUAGE plpgsql AS $$ "
    "BEGIN RAISE NOTICE 'ran as %', current_user; RETURN '{{}}'; END $$; "
    "CREATE FUNCTION pg_temp.replace(text, text, text) RETURNS text LANGUAGE plpgsql AS $$ "
    "BEGIN RAISE NOTICE 'ran as %', current_user; RETURN $1; END $$",
    "operator": "CREATE FUNCTION pg_temp.joined(text, text) RETURNS text LANGUAGE plpgsql AS $$ "
    "BEGIN RAISE NOTICE 'ran as %', current_user; RETURN $1; END $$; "
    "CREATE OPERATOR pg_temp.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.joined)",
}


@dataclass
class Shop:
    """A database of the server's role, and another role that may write products."""

    server: Any
    schema: str
    clerk_url: str

    def as_clerk(self, script: str) -> list[str]:
        """Run SQL as the other role; the notices that it saw."""
        said: list[str] = []
        with psycopg.connect(self.clerk_url, autocommit=True) as db:
            db.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
            for statement in (script,):
                db.execute(statement.replace("{schema}", self.schema))
        return said


@pytest.fixture
def shop(postgres_cluster: PostgresCluster) -> Iterator[Shop]:
    mark = os.urandom(4).hex()
    owner, clerk, schema = f"owner{mark}", f"clerk{mark}", f"shop{mark}"
    postgres_cluster.sql(
        f"CREATE ROLE {owner} LOGIN; CREATE ROLE {clerk} LOGIN; "
        f"CREATE SCHEMA {schema} AUTHORIZATION {owner}"
    )
    url = postgres_cluster.url(schema=schema).replace("postgres@", f"{owner}@")
    server = sys.modules["engine.tests.unit.server.conftest"].Server(url)
    postgres_cluster.sql(
        f"GRANT USAGE ON SCHEMA {schema} TO {clerk}; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.product TO {clerk}"
    )
    yield Shop(server, schema, url.replace(f"{owner}@", f"{clerk}@"))
    server.close()
    postgres_cluster.sql(f"DROP SCHEMA {schema} CASCADE; DROP OWNED BY {owner}, {clerk}; "
                         f"DROP ROLE {owner}, {clerk}")  # fmt: skip


@pytest.mark.parametrize("kind", SHADOWS)
@pytest.mark.parametrize("first", ["", "SET search_path = pg_temp, {schema}, pg_catalog;"])
def test_what_stands_in_pg_temp_is_not_used_and_the_write_syncs(
    shop: Shop, kind: str, first: str
) -> None:
    shadow = SHADOWS[kind].replace("{{", "{").replace("}}", "}")
    said = shop.as_clerk(f"{EVIL} {shadow}; {first} {INSERT}")
    # The operator and the function may well be used by the statements themselves, as the clerk.
    assert not [line for line in said if "owner" in line]
    device = shop.server.peer()
    device.sync()
    assert [key for table, key in device.rows if table == "product"] == ["p2"]


def test_only_the_server_puts_our_functions_on_a_table(shop: Shop) -> None:
    """Else a table of one's own, with columns whose casts are one's own, would run them."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        shop.as_clerk(
            "CREATE TEMP TABLE bait (id text, sku text); CREATE TRIGGER t AFTER INSERT ON bait "
            "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT "
            "EXECUTE FUNCTION {schema}.holdfast_note_product()"
        )


@pytest.mark.parametrize(
    "older",
    [
        "ALTER FUNCTION holdfast_note_product() RESET search_path",
        "ALTER FUNCTION holdfast_note_product() SET search_path = {schema}",
        "ALTER FUNCTION holdfast_key_product() RESET ALL",
        "GRANT EXECUTE ON FUNCTION holdfast_note_product() TO PUBLIC",
        (
            "CREATE OR REPLACE FUNCTION holdfast_note_product() RETURNS trigger LANGUAGE plpgsql "
            "SECURITY DEFINER SET search_path FROM CURRENT AS $$ BEGIN INSERT INTO holdfast_dirty "
            "(tbl, key, was) SELECT 'product', 'p1', false; RETURN NULL; END $$"
        ),
    ],
)
def test_a_database_of_an_older_version_is_made_safe_when_it_is_opened(
    shop: Shop, older: str
) -> None:
    def functions() -> list[tuple[Any, ...]]:
        return shop.server.query(  # type: ignore[no-any-return]
            "SELECT proname, prosrc, prosecdef, proconfig, proacl::text FROM pg_proc "
            f"WHERE pronamespace = '{shop.schema}'::regnamespace ORDER BY proname"
        )

    made = functions()
    assert all("pg_catalog, pg_temp" in str(config) for _, _, _, config, _ in made)
    shop.server.sql(older.replace("{schema}", shop.schema))
    assert functions() != made
    shop.server.reopen()
    assert functions() == made
