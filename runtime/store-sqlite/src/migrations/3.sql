-- Schema version 3: a checksum of each row of these tables (seal.rs). NULL in rows of before. Never edited once released.
ALTER TABLE rounds ADD COLUMN seal INTEGER;
ALTER TABLE members ADD COLUMN seal INTEGER;
ALTER TABLE checkpoints ADD COLUMN seal INTEGER;
ALTER TABLE events ADD COLUMN seal INTEGER;
