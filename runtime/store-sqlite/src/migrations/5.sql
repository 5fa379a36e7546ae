-- Schema version 5: the round that a member's update is counted in, when that is not its own. Never edited once released.
ALTER TABLE members ADD COLUMN counted INTEGER;
CREATE INDEX members_by_counted ON members (job, run, counted) WHERE counted IS NOT NULL;
