//! Job database on embedded SQLite: WAL, full sync, migrations.
