//! Which files a pattern names: `*` and `?` within a name, no `**`.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Files that match, sorted, and the folders that were looked into: a file that appears there may match too.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matches {
    pub files: Vec<PathBuf>,
    pub folders: Vec<PathBuf>,
}

/// # Errors
/// When a folder is there but cannot be read, with the folder. A folder that is missing matches nothing.
pub(super) fn expand(pattern: &Path) -> Result<Matches, (PathBuf, io::Error)> {
    let mut found = vec![PathBuf::new()];
    let mut folders = Vec::new();
    let mut listed = false;
    for component in pattern.components() {
        match component {
            Component::Normal(name) if is_pattern(&name.to_string_lossy()) => {
                listed = true;
                found = list(&found, &name.to_string_lossy(), &mut folders)?;
            }
            plain => found.iter_mut().for_each(|path| path.push(plain)),
        }
    }
    // A plain name is a file that must be there; reading it says so when it is not.
    found.retain(|path| !listed || path.is_file());
    found.sort_unstable();
    folders.sort_unstable();
    Ok(Matches {
        files: found,
        folders,
    })
}

fn list(
    parents: &[PathBuf],
    pattern: &str,
    folders: &mut Vec<PathBuf>,
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    for parent in parents {
        let folder = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err((folder.to_owned(), error)),
        };
        folders.push(folder.to_owned());
        for entry in entries {
            let entry = entry.map_err(|error| (folder.to_owned(), error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Editors leave hidden files beside those they edit.
            if (!name.starts_with('.') || pattern.starts_with('.')) && fits(pattern, &name) {
                found.push(parent.join(entry.file_name()));
            }
        }
    }
    Ok(found)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Greedy with one point to come back to: linear in practice, never exponential.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), name.get(n)) {
            (Some('*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(want), Some(have)) if *want == '?' || want == have => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star_p, star_n)) = star else {
                    return false;
                };
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_fit_within_a_name() {
        assert!(fits("*.toml", "acme.toml") && fits("*", "") && fits("a*b*c", "axxbxbc"));
        assert!(fits("t?.toml", "té.toml") && !fits("t?.toml", "t.toml"));
        assert!(!fits("*.toml", "acme.toml.bak") && !fits("a*b", "ac"));
    }

    #[test]
    fn finds_files_in_folders_that_match() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a/x.toml", "b/y.toml", "b/.hidden.toml", "b/note.txt"] {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = expand(&root.path().join("*/*.toml")).unwrap();
        assert_eq!(
            found.files,
            [root.path().join("a/x.toml"), root.path().join("b/y.toml")]
        );
        assert_eq!(
            found.folders,
            [
                root.path().to_owned(),
                root.path().join("a"),
                root.path().join("b")
            ]
        );
        assert_eq!(
            expand(&root.path().join("none/*.toml")).unwrap(),
            Matches::default()
        );
        let plain = root.path().join("missing.toml");
        assert_eq!(expand(&plain).unwrap().files, [plain]);
    }
}
