//! `/calls/{id}/notes` and `/call-notes`: what people write about calls.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Operation, Resource};
use crate::api::caller::Caller;
use crate::api::calls::{Harmless, NoteView, by, found};
use crate::api::fields::{self, Page};
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Versioned};
use crate::api::state::Api;
use crate::catalog::{CallToMark, Note, NoteDraft};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(edit, remove))
}

/// What of a note can be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NoteBody {
    #[schema(min_length = 1, max_length = 4000)]
    text: String,
    /// Milliseconds from the start of the audio, and not past its end; absent: of the call as a whole.
    #[serde(default)]
    place_ms: Option<u64>,
    /// Needs `call_notes: pin`.
    #[serde(default)]
    pinned: bool,
}

impl NoteBody {
    fn draft(&self) -> Result<NoteDraft> {
        let text = fields::text("text", &self.text, 4000)?;
        match text.trim().is_empty() {
            true => Err(Problem::invalid("text", "is empty")),
            false => Ok(NoteDraft {
                place_ms: self.place_ms,
                text,
                is_pinned: self.pinned,
            }),
        }
    }
}

/// The notes of a call: pinned ones first, then by their places.
#[utoipa::path(get, path = "/calls/{id}/notes", tag = "calls", operation_id = "list_call_notes", params(("id" = Uuid, Path)),
    responses((status = 200, body = Page<NoteView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Harmless<Page<NoteView>>> {
    caller.needs(Resource::Calls, Operation::View)?;
    caller.needs(Resource::CallNotes, Operation::View)?;
    let call = found(&api, &caller, id).await?;
    let notes = api.catalog()?.notes(&call).await?;
    Ok(Harmless(Page {
        items: notes.iter().map(NoteView::new).collect(),
        next: None,
    }))
}

/// A place past the end of the audio is none; where there is no audio its length is not known.
fn within(draft: &NoteDraft, call: &CallToMark) -> Result<()> {
    let length = call.file_path.as_ref().map(|_| call.length_ms);
    match (draft.place_ms, length) {
        (Some(place), Some(length)) if place > length => Err(Problem::invalid(
            "place_ms",
            format!("the audio ends at {length}"),
        )),
        _ => Ok(()),
    }
}

/// A new note.
#[utoipa::path(post, path = "/calls/{id}/notes", tag = "calls", operation_id = "create_call_note",
    params(("id" = Uuid, Path)), request_body = NoteBody, responses((status = 201, body = NoteView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Body(body): Body<NoteBody>,
) -> Result<Versioned<NoteView>> {
    caller.needs(Resource::Calls, Operation::AddNotes)?;
    if body.pinned {
        caller.needs(Resource::CallNotes, Operation::Pin)?;
    }
    let draft = body.draft()?;
    let mut change = api.catalog()?.change().await?;
    let call = change.call_to_mark(&caller.scope(), id).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    within(&draft, &call)?;
    let author = caller.principal.user();
    let note = change
        .add_note(&call, author, &by(&caller, call.tenant), &draft)
        .await?;
    let event = caller.event("call_notes.create").of_tenant(note.tenant);
    change
        .commit(
            event
                .on("call_note", note.id)
                .change(None, Some(state(&note))),
        )
        .await?;
    let path = format!("/api/v1/call-notes/{}", note.id);
    Ok(Versioned::created(note.version, path, NoteView::new(&note)))
}

/// Writes a note anew. Only its author does; who may pin may pin any.
#[utoipa::path(put, path = "/call-notes/{id}", tag = "calls", operation_id = "edit_call_note",
    params(("id" = Uuid, Path), IfMatch),
    request_body = NoteBody, responses((status = 200, body = NoteView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<NoteBody>,
) -> Result<Versioned<NoteView>> {
    caller.needs(Resource::CallNotes, Operation::View)?;
    let draft = body.draft()?;
    let mut change = api.catalog()?.change().await?;
    let before = change.note(&caller.scope(), id).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    let same_words = before.text == draft.text && before.place_ms == draft.place_ms;
    if !same_words || !is_own(&caller, &before) && before.is_pinned == draft.is_pinned {
        needs_own(&caller, &before)?;
        caller.needs(Resource::Calls, Operation::AddNotes)?;
    }
    if before.is_pinned != draft.is_pinned {
        caller.needs(Resource::CallNotes, Operation::Pin)?;
    }
    version.check(before.version)?;
    if before.place_ms != draft.place_ms {
        let call = change.call_to_mark(&caller.scope(), before.call).await?;
        within(&draft, &call.ok_or_else(Problem::not_found)?)?;
    }
    let note = change.edit_note(&before, &draft).await?;
    let event = caller.event("call_notes.edit").of_tenant(note.tenant);
    let event = event
        .on("call_note", note.id)
        .change(Some(state(&before)), Some(state(&note)));
    change.commit(event).await?;
    Ok(Versioned::new(note.version, NoteView::new(&note)))
}

/// Removes a note: the own, or any with `call_notes: delete`.
#[utoipa::path(delete, path = "/call-notes/{id}", tag = "calls", operation_id = "remove_call_note",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    if !caller.principal.may(Resource::CallNotes, Operation::Delete) {
        caller.needs(Resource::Calls, Operation::AddNotes)?;
    }
    let mut change = api.catalog()?.change().await?;
    let note = change.note(&caller.scope(), id).await?;
    let note = note.ok_or_else(Problem::not_found)?;
    match is_own(&caller, &note) {
        true => caller.needs(Resource::Calls, Operation::AddNotes)?,
        false => caller.needs(Resource::CallNotes, Operation::Delete)?,
    }
    version.check(note.version)?;
    change.remove_note(&note).await?;
    let event = caller.event("call_notes.delete").of_tenant(note.tenant);
    change
        .commit(
            event
                .on("call_note", note.id)
                .change(Some(state(&note)), None),
        )
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn is_own(caller: &Caller, note: &Note) -> bool {
    note.author.is_some() && note.author == caller.principal.user()
}

fn needs_own(caller: &Caller, note: &Note) -> Result<()> {
    match is_own(caller, note) {
        true => Ok(()),
        false => {
            let title = "Only who wrote a note changes its words";
            Err(Problem::new(StatusCode::FORBIDDEN, "not_the_author", title))
        }
    }
}

/// What the audit keeps of a note.
fn state(note: &Note) -> serde_json::Value {
    json!({ "call_id": note.call, "text": note.text, "place_ms": note.place_ms, "pinned": note.is_pinned })
}
