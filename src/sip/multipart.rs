//! Bodies of several parts (RFC 2046 section 5.1): only to find the session description in them.

use memchr::{memchr, memmem};

use super::headers::media_type;
use super::scan::{cut_at_byte, param};
use super::table::HeaderTable;

/// Multiparts inside multiparts are followed this deep.
const MAX_DEPTH: usize = 3;

/// The session description in a body of that Content-Type; `None` when there is none or it is empty.
pub(super) fn find_sdp<'a>(content_type: Option<&str>, body: &'a [u8]) -> Option<&'a [u8]> {
    find_at_depth(content_type, body, 0)
}

fn find_at_depth<'a>(content_type: Option<&str>, body: &'a [u8], depth: usize) -> Option<&'a [u8]> {
    if body.is_empty() {
        return None;
    }
    let content_type = content_type.unwrap_or("");
    let name = media_type(content_type);
    if name.eq_ignore_ascii_case("application/sdp") {
        return Some(body);
    }
    if name.is_empty() {
        return body.trim_ascii_start().starts_with(b"v=0").then_some(body);
    }
    let is_multipart = name
        .split_at_checked(10)
        .is_some_and(|(main, _)| main.eq_ignore_ascii_case("multipart/"));
    if !is_multipart || depth >= MAX_DEPTH {
        return None;
    }
    let boundary = param(cut_at_byte(content_type, b';').1, "boundary")
        .map(str::as_bytes)
        .filter(|boundary| !boundary.is_empty())
        .or_else(|| guessed_boundary(body))?;
    Parts::new(body, boundary).find_map(|part| {
        let (content_type, content) = open_part(part)?;
        find_at_depth(content_type, content, depth + 1)
    })
}

/// The boundary of a body whose Content-Type lacks it: its first line after `--`.
fn guessed_boundary(body: &[u8]) -> Option<&[u8]> {
    let body = body.trim_ascii_start();
    let line = body.get(..memchr(b'\n', body)?)?;
    let boundary = line.strip_prefix(b"--")?.trim_ascii_end();
    (!boundary.is_empty()).then_some(boundary)
}

/// The Content-Type of a part and what follows its headers. A part without an empty line has no content.
fn open_part(part: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let (head, content) = split_head(part)?;
    // A part whose headers are not UTF-8 is none of ours.
    let (table, _) = HeaderTable::parse(std::str::from_utf8(head).ok()?);
    Some((table.first("Content-Type"), content))
}

/// The headers of a part, with the empty line after them, and its content.
fn split_head(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let length = memchr(b'\n', part.get(from..)?)?;
        let line = part.get(from..from + length)?;
        from += length + 1;
        if matches!(line, b"" | b"\r") {
            return part.split_at_checked(from);
        }
    }
}

/// The parts between boundaries; the last one may lack its closing boundary.
struct Parts<'a, 'b> {
    body: &'a [u8],
    delimiter: memmem::Finder<'b>,
    boundary_length: usize,
    /// Where the part after the boundary found last begins; `None` after the closing one.
    next: Option<usize>,
}

impl<'a, 'b> Parts<'a, 'b> {
    fn new(body: &'a [u8], boundary: &'b [u8]) -> Self {
        let mut parts = Parts {
            body,
            delimiter: memmem::Finder::new(boundary),
            boundary_length: boundary.len(),
            next: None,
        };
        parts.next = parts.delimiter_after(0).and_then(|at| parts.part_after(at));
        parts
    }

    /// Where the next `--boundary` line begins, at or after `from`.
    fn delimiter_after(&self, from: usize) -> Option<usize> {
        let mut from = from;
        loop {
            let at = from + self.delimiter.find(self.body.get(from..)?)?;
            from = at + 1;
            let (before, after) = self.body.split_at_checked(at)?;
            let Some(before) = before.strip_suffix(b"--") else {
                continue;
            };
            let at_line_start = before.last().is_none_or(|&byte| byte == b'\n');
            let ends_here = match after.get(self.boundary_length..) {
                None | Some([] | [b'\r' | b'\n' | b' ' | b'\t', ..]) => true,
                Some([b'-', b'-', ..]) => true,
                Some(_) => false,
            };
            if at_line_start && ends_here {
                return Some(before.len());
            }
        }
    }

    /// Where the part after the boundary at `at` begins; `None` after the closing one.
    fn part_after(&self, at: usize) -> Option<usize> {
        let after = self.body.get(at + 2 + self.boundary_length..)?;
        if after.starts_with(b"--") {
            return None;
        }
        let line_end = memchr(b'\n', after)?;
        Some(at + 2 + self.boundary_length + line_end + 1)
    }
}

impl<'a> Iterator for Parts<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let from = self.next.take()?;
        // The line end before a boundary belongs to the boundary.
        let Some(end) = self.delimiter_after(from) else {
            return self.body.get(from..);
        };
        self.next = self.part_after(end);
        let part = self.body.get(from..end)?;
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        Some(part.strip_suffix(b"\r").unwrap_or(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1";

    fn body(boundary: &str) -> Vec<u8> {
        let mut body =
            format!("preamble\r\n--{boundary}\r\nContent-Type: application/isup\r\n\r\n");
        body.push_str("\0\u{1}--not a boundary\r\n");
        body.push_str(&format!("--{boundary}x\r\n\r\n--{boundary}\r\n"));
        body.push_str("c:\r\n APPLICATION/SDP ;charset=utf-8\r\n\r\n");
        let mut body = body.into_bytes();
        body.insert(30, 0xff);
        body.extend_from_slice(SDP);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\nepilogue").as_bytes());
        body
    }

    #[test]
    fn the_description_is_found_after_a_binary_part() {
        let body = body("b1");
        assert_eq!(
            find_sdp(Some("multipart/mixed;boundary=b1"), &body),
            Some(SDP)
        );
        assert_eq!(
            find_sdp(Some("Multipart/Related; type=x; Boundary=\"b1\""), &body),
            Some(SDP)
        );
    }

    #[test]
    fn quoted_boundaries_may_hold_blanks_and_separators() {
        let body = body("a b;c=d");
        assert_eq!(
            find_sdp(Some("multipart/mixed;boundary=\"a b;c=d\""), &body),
            Some(SDP)
        );
    }

    #[test]
    fn a_missing_boundary_is_taken_from_the_body() {
        let body = b"--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--\r\n";
        assert_eq!(find_sdp(Some("multipart/mixed"), body), Some(&b"v=0"[..]));
    }

    #[test]
    fn a_cut_body_keeps_what_was_there() {
        let body = b"--x\nContent-Type: application/sdp\n\nv=0\no=- 1";
        assert_eq!(
            find_sdp(Some("multipart/mixed;boundary=x"), body),
            Some(&b"v=0\no=- 1"[..])
        );
    }

    #[test]
    fn multiparts_nest() {
        let inner = "--in\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--in--";
        let outer = format!(
            "--out\r\nContent-Type: multipart/alternative;boundary=in\r\n\r\n{inner}\r\n--out--"
        );
        assert_eq!(
            find_sdp(Some("multipart/mixed;boundary=out"), outer.as_bytes()),
            Some(&b"v=0"[..])
        );
    }

    #[test]
    fn other_bodies_have_none() {
        assert_eq!(find_sdp(Some("text/plain"), b"v=0"), None);
        assert_eq!(find_sdp(Some("application/sdp"), b""), None);
        assert_eq!(find_sdp(None, b"v=0\r\n"), Some(&b"v=0\r\n"[..]));
        assert_eq!(find_sdp(None, b"hello"), None);
        assert_eq!(find_sdp(Some("multipart/mixed;boundary=x"), b"--x--"), None);
        assert_eq!(find_sdp(Some("multipart/mixed"), b"no boundary"), None);
    }
}
