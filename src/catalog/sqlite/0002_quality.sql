-- How a call was heard. Calls of before have no score.

-- Mean opinion score of the side that is heard worse, 1 to 4.5 (ITU-T G.107).
ALTER TABLE calls ADD COLUMN mos REAL CHECK (mos >= 1 AND mos <= 5);
-- Mean jitter of the side that has more, and the way between the ends and back.
ALTER TABLE calls ADD COLUMN jitter_ms REAL CHECK (jitter_ms >= 0);
ALTER TABLE calls ADD COLUMN round_trip_ms REAL CHECK (round_trip_ms >= 0);
-- Of packets_lost: those that the receivers do not lack.
ALTER TABLE calls ADD COLUMN mirror_lost INTEGER NOT NULL DEFAULT 0 CHECK (mirror_lost >= 0);
-- Packets too late to be played.
ALTER TABLE calls ADD COLUMN packets_discarded INTEGER NOT NULL DEFAULT 0 CHECK (packets_discarded >= 0);
-- The side that was not heard while the other was.
ALTER TABLE calls ADD COLUMN unheard TEXT CHECK (unheard IN ('caller', 'callee'));
