-- Schema version 2: who wrote a job's document, and what more is known of a failure (JSON). Never edited once released.
ALTER TABLE jobs ADD COLUMN author TEXT NOT NULL DEFAULT 'anonymous';
ALTER TABLE rounds ADD COLUMN cause TEXT;
ALTER TABLE members ADD COLUMN cause TEXT;
