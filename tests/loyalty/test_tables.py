"""The history of the database ends where the tables of the code begin."""

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData

from actions import tables as actions
from loyalty import tables as loyalty
from programme import migrations
from programme.database import Database
from serving.online import tables as online


def test_the_migrated_database_has_the_tables_of_the_code(database: Database) -> None:
    together = MetaData()
    for metadata in (loyalty.metadata, actions.metadata, online.metadata):
        for table in metadata.tables.values():
            table.to_metadata(together)

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, together) == []


def test_the_revision_the_code_expects_is_the_last_of_the_history() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.__path__[0]))

    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]
