-- The application that wrote a change itself and is not told of it.
ALTER TABLE changes ADD COLUMN withheld_from TEXT;
