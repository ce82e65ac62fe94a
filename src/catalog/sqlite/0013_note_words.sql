-- Words of notes, each with its tenant's id before it: a tenant's question reads its own words and no others, so that what it
-- takes says nothing of what others wrote. FTS5 takes texts apart itself, in a table that is empty again at once: no text, however
-- it looks, makes a word that begins with another tenant's id.

DROP TRIGGER call_notes_written;
DROP TRIGGER call_notes_edited;
DROP TRIGGER call_notes_removed;
DROP TABLE call_note_words;

CREATE VIRTUAL TABLE note_words USING fts5 (
  words, content = '', contentless_delete = 1, detail = none, tokenize = 'unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE note_texts USING fts5 (
  text, content = '', detail = none, tokenize = 'unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE note_terms USING fts5vocab (note_texts, instance);

INSERT INTO note_texts (rowid, text) SELECT note_row, text FROM call_notes;
INSERT INTO note_words (rowid, words)
SELECT n.note_row, group_concat(hex(n.tenant_id) || t.term, ' ')
FROM note_terms t JOIN call_notes n ON n.note_row = t.doc GROUP BY n.note_row;
INSERT INTO note_texts (note_texts) VALUES ('delete-all');

CREATE TRIGGER call_notes_written AFTER INSERT ON call_notes BEGIN
  INSERT INTO note_texts (rowid, text) VALUES (new.note_row, new.text);
  INSERT INTO note_words (rowid, words) SELECT new.note_row, group_concat(hex(new.tenant_id) || term, ' ') FROM note_terms;
  INSERT INTO note_texts (note_texts) VALUES ('delete-all');
END;
CREATE TRIGGER call_notes_edited AFTER UPDATE OF text ON call_notes BEGIN
  DELETE FROM note_words WHERE rowid = new.note_row;
  INSERT INTO note_texts (rowid, text) VALUES (new.note_row, new.text);
  INSERT INTO note_words (rowid, words) SELECT new.note_row, group_concat(hex(new.tenant_id) || term, ' ') FROM note_terms;
  INSERT INTO note_texts (note_texts) VALUES ('delete-all');
END;
CREATE TRIGGER call_notes_removed AFTER DELETE ON call_notes BEGIN
  DELETE FROM note_words WHERE rowid = old.note_row;
END;
