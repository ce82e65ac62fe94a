//! Names to sign in with.

/// Whether this can be a login: 1 to 64 characters that can be seen, none of them a space.
pub fn is_login(text: &str) -> bool {
    let unfit = |one: char| one.is_whitespace() || one.is_control() || is_unseen(one);
    (1..=64).contains(&text.chars().count()) && !text.chars().any(unfit)
}

/// Characters without a shape, by which two logins could look the same.
fn is_unseen(one: char) -> bool {
    matches!(one, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}
