-- Schema version 6: when a member came to each step on its way, and the bytes it brought. Never edited once released.
ALTER TABLE members ADD COLUMN sent INTEGER;
ALTER TABLE members ADD COLUMN started INTEGER;
ALTER TABLE members ADD COLUMN uploading INTEGER;
ALTER TABLE members ADD COLUMN bytes INTEGER;
