//! Rust source as these tests read it: without comments, literals and test code, lines kept.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the crate that ends up in the program.
pub struct Source {
    /// Relative to `src/`.
    pub path: PathBuf,
    /// As it is on disk.
    pub text: String,
    /// The same with comments, the contents of literals and items under `#[cfg(test)]` blanked out.
    pub code: String,
    /// The modules it stands in, its own last; none for the root.
    pub modules: Vec<String>,
}

impl Source {
    /// The room it belongs to; none for `lib.rs`.
    pub fn room(&self) -> Option<&str> {
        self.modules.first().map(String::as_str)
    }

    /// The line, from 1, of a byte of `code`.
    pub fn line(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }

    /// Where `word` stands, alone, not as a part of another word.
    pub fn words<'s>(&'s self, word: &'s str) -> impl Iterator<Item = usize> + 's {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let before = |at: usize| self.code[..at].chars().next_back();
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(move |&at| {
                let after = self.code[at + word.len()..].chars().next();
                let runs_on_before = word.starts_with(part) && before(at).is_some_and(part);
                let runs_on_after = word.ends_with(part) && after.is_some_and(part);
                !runs_on_before && !runs_on_after
            })
    }

    /// Every path that begins with `root::`, import groups written out: `std::{fs, io}` is `std::fs` and `std::io`.
    pub fn paths(&self, root: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for at in self.words(root) {
            if let Some(rest) = self.code[at + root.len()..].trim_start().strip_prefix("::") {
                let mut paths = Vec::new();
                expand(rest.trim_start(), root.to_owned(), &mut paths);
                found.extend(paths.into_iter().map(|path| (self.line(at), path)));
            }
        }
        found
    }
}

/// Follows the modules from `src/lib.rs`, as the compiler does; what only tests compile is not found.
pub fn read_crate() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_module(&root, "lib.rs".into(), Vec::new(), &mut sources);
    sources
}

fn read_module(root: &Path, path: PathBuf, modules: Vec<String>, sources: &mut Vec<Source>) {
    let text = fs::read_to_string(root.join(&path)).expect("a module that is declared has a file");
    let code = without_tests(&without_comments(&text));
    for name in declared_modules(&code) {
        let folder: PathBuf = modules.iter().collect();
        let file = folder.join(format!("{name}.rs"));
        let nested = folder.join(&name).join("mod.rs");
        let path = if root.join(&file).exists() {
            file
        } else {
            nested
        };
        let modules = modules.iter().cloned().chain([name]).collect();
        read_module(root, path, modules, sources);
    }
    sources.push(Source {
        path,
        text,
        code,
        modules,
    });
}

/// Names of `mod name;`.
fn declared_modules(code: &str) -> Vec<String> {
    code.lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            let name = line
                .strip_prefix("pub ")
                .unwrap_or(line)
                .strip_prefix("mod ")?;
            Some(name.strip_suffix(';')?.to_owned())
        })
        .collect()
}

/// Writes out the use tree that `rest` begins with; what comes after it, is left.
fn expand<'s>(rest: &'s str, prefix: String, paths: &mut Vec<String>) -> &'s str {
    if let Some(mut group) = rest.strip_prefix('{') {
        loop {
            group = expand(group.trim_start(), prefix.clone(), paths).trim_start();
            match group.strip_prefix(',') {
                Some(next) => group = next,
                None => return group.strip_prefix('}').unwrap_or(group),
            }
        }
    }
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'))
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let path = match name {
        "" | "self" => prefix,
        name => format!("{prefix}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest, path, paths),
        None => {
            paths.push(path);
            // `as name`
            &rest[rest.find([',', '}', ';']).unwrap_or(rest.len())..]
        }
    }
}

/// Blanks out comments and what stands in string and character literals.
pub fn without_comments(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + literal_or_comment(&chars[at..], at.checked_sub(1).map(|i| chars[i]));
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { c } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Characters of the comment or literal that `chars` begins with; 0 when it begins with neither.
fn literal_or_comment(chars: &[char], before: Option<char>) -> usize {
    let starts = |text: &str| {
        text.chars()
            .enumerate()
            .all(|(i, c)| chars.get(i) == Some(&c))
    };
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if starts("//") {
        chars.iter().position(|&c| c == '\n').unwrap_or(chars.len())
    } else if starts("/*") {
        block_comment(chars)
    } else if starts("\"") {
        1 + until_quote(&chars[1..], '"')
    } else if !in_word && (starts("r\"") || starts("r#\"") || starts("r##\"")) {
        raw_string(chars)
    } else if starts("'\\") {
        2 + until_quote(&chars[2..], '\'').max(1)
    } else if starts("'") && chars.get(2) == Some(&'\'') {
        3
    } else {
        0
    }
}

fn block_comment(chars: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 1),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn until_quote(chars: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 1,
            c if c == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    chars.len()
}

fn raw_string(chars: &[char]) -> usize {
    let hashes = chars[1..].iter().take_while(|&&c| c == '#').count();
    let open = 2 + hashes;
    let closes = |at: &usize| {
        chars[*at] == '"'
            && chars[at + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes
    };
    let close = (open..chars.len()).find(closes).unwrap_or(chars.len() - 1);
    (close + 1 + hashes).min(chars.len())
}

/// Blanks out every item under `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let end = at + MARK.len() + item_length(&rest[at + MARK.len()..]);
        out.push_str(&rest[..at]);
        out.extend(
            rest[at..end]
                .chars()
                .map(|c| if c == '\n' { c } else { ' ' }),
        );
        rest = &rest[end..];
    }
    out + rest
}

/// Bytes to the end of the first item: its semicolon, or the end of its block.
fn item_length(code: &str) -> usize {
    let mut depth = 0i32;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return at;
        }
        if depth == 0 && matches!(c, '}' | ';') {
            return at + 1;
        }
    }
    code.len()
}

#[test]
fn comments_literals_and_tests_are_not_code() {
    let text = r##"let a = "crate::x"; // crate::y
let b = '"'; /* crate::z /* nested */ */ let c = r#"panic!("#; let d: &'static str = b'\'';
#[cfg(test)]
mod tests { fn t() { crate::w(); } }
fn kept() {}"##;
    let code = without_tests(&without_comments(text));
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(
        !code.contains("crate::") && !code.contains("panic"),
        "{code}"
    );
    assert!(
        code.contains("let c =") && code.contains("&'static str"),
        "{code}"
    );
    assert!(
        code.contains("fn kept() {}") && !code.contains("mod tests"),
        "{code}"
    );
}

#[test]
fn import_groups_are_written_out() {
    let source = Source {
        path: "x.rs".into(),
        text: String::new(),
        code: "use std::{fs, io::{self, Read as _}, net::IpAddr};\nstd::thread::spawn(f)".into(),
        modules: Vec::new(),
    };
    let paths: Vec<_> = source
        .paths("std")
        .into_iter()
        .map(|(line, path)| format!("{line} {path}"))
        .collect();
    assert_eq!(
        paths,
        [
            "1 std::fs",
            "1 std::io",
            "1 std::io::Read",
            "1 std::net::IpAddr",
            "2 std::thread::spawn"
        ]
    );
}
