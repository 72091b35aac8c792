//! Where the head of a page begins: the tokens of HTML up to `<head>`, byte by byte, so that chunks do not matter.

/// Reads a page from its first byte on. Follows the tokenizer and the first insertion modes of the HTML standard
/// (13.2.5, 13.2.6.4.1-3) as far as they can come before `<head>`; whatever else comes first opens the head by itself in a
/// browser, and a later `<head>` is then none.
#[derive(Debug, Default)]
pub(super) struct Reader {
    state: State,
    /// Bytes read.
    read: usize,
    /// How many of them belong to the byte order mark.
    mark: usize,
    name: [u8; 4],
    name_length: usize,
}

/// What is known so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The head begins at this offset, right after its tag.
    At(usize),
    /// There is no `<head>` where one counts.
    Nowhere,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between tokens.
    #[default]
    Blank,
    /// After `<`.
    Open,
    /// After `<!`.
    Bang,
    /// After `<!-`.
    BangDash,
    /// In a doctype or what is read like one: up to `>`, quotes or not.
    Declaration,
    CommentStart,
    CommentStartDash,
    Comment,
    CommentEndDash,
    CommentEnd,
    CommentEndBang,
    TagName,
    /// In the tag of `html` or `head`.
    Attributes(Element, Attribute),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Html,
    Head,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Quoted(u8),
    Unquoted,
}

/// The byte order mark of UTF-8, which may come first.
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

impl Reader {
    /// Reads on. `None`: more is needed. Once something is found, nothing more may be read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Found> {
        for byte in bytes {
            let is_mark = self.mark == self.read && MARK.get(self.read) == Some(byte);
            self.read += 1;
            if is_mark {
                self.mark += 1;
                continue;
            }
            // A part of one is text.
            if (1..MARK.len()).contains(&self.mark) {
                return Some(Found::Nowhere);
            }
            self.state = match self.next(*byte) {
                Some(state) => state,
                None => return Some(Found::Nowhere),
            };
            if self.state == State::Attributes(Element::Head, Attribute::BeforeName) && *byte == b'>' {
                return Some(Found::At(self.read));
            }
        }
        None
    }

    /// `None`: no head can come any more.
    fn next(&mut self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            (State::Blank, b'<') => State::Open,
            (State::Blank, _) if is_space(byte) => State::Blank,
            (State::Blank, _) => return None,

            (State::Open, b'!') => State::Bang,
            (State::Open, b'?') => State::Declaration,
            (State::Open, b'a'..=b'z' | b'A'..=b'Z') => {
                self.name_length = 0;
                self.letter(byte)?
            }
            // An end tag, or text.
            (State::Open, _) => return None,

            (State::Bang, b'-') => State::BangDash,
            (State::BangDash, b'-') => State::CommentStart,
            (State::Bang | State::BangDash | State::Declaration, b'>') => State::Blank,
            (State::Bang | State::BangDash | State::Declaration, _) => State::Declaration,

            (State::CommentStart | State::CommentStartDash | State::CommentEnd | State::CommentEndBang, b'>') => {
                State::Blank
            }
            (State::CommentStart, b'-') => State::CommentStartDash,
            (State::CommentStartDash | State::CommentEndDash | State::CommentEnd, b'-') => State::CommentEnd,
            (State::Comment | State::CommentEndBang, b'-') => State::CommentEndDash,
            (State::CommentEnd, b'!') => State::CommentEndBang,
            (
                State::CommentStart
                | State::CommentStartDash
                | State::Comment
                | State::CommentEndDash
                | State::CommentEnd
                | State::CommentEndBang,
                _,
            ) => State::Comment,

            (State::TagName, b'>' | b'/') => self.named(byte)?,
            (State::TagName, _) if is_space(byte) => self.named(byte)?,
            (State::TagName, _) => self.letter(byte)?,

            (State::Attributes(element, attribute), _) => within_tag(element, attribute, byte),
        })
    }

    fn letter(&mut self, byte: u8) -> Option<State> {
        // A longer name is another element.
        *self.name.get_mut(self.name_length)? = byte.to_ascii_lowercase();
        self.name_length += 1;
        Some(State::TagName)
    }

    fn named(&self, byte: u8) -> Option<State> {
        let element = match self.name.split_at_checked(self.name_length)?.0 {
            b"html" => Element::Html,
            b"head" => Element::Head,
            _ => return None,
        };
        Some(within_tag(element, Attribute::BeforeName, byte))
    }
}

/// 13.2.5.32-39: a quote opens a value after `=` only, and `>` ends the tag everywhere but in a quoted value.
fn within_tag(element: Element, attribute: Attribute, byte: u8) -> State {
    let next = match (attribute, byte) {
        (Attribute::Quoted(quote), _) if byte == quote => Attribute::BeforeName,
        (Attribute::Quoted(_), _) => attribute,
        (_, b'>') if element == Element::Html => return State::Blank,
        (_, b'>') => Attribute::BeforeName,
        (Attribute::BeforeValue, b'"' | b'\'') => Attribute::Quoted(byte),
        (Attribute::BeforeValue, _) if is_space(byte) => Attribute::BeforeValue,
        (Attribute::Unquoted, _) if is_space(byte) => Attribute::BeforeName,
        (Attribute::BeforeValue | Attribute::Unquoted, _) => Attribute::Unquoted,
        (Attribute::Name | Attribute::AfterName, b'=') => Attribute::BeforeValue,
        (_, b'/') => Attribute::BeforeName,
        (Attribute::Name | Attribute::AfterName, _) if is_space(byte) => Attribute::AfterName,
        (Attribute::BeforeName, _) if is_space(byte) => Attribute::BeforeName,
        _ => Attribute::Name,
    };
    State::Attributes(element, next)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offset is where `|` stands.
    const HEADS: &[&str] = &[
        "<head>|",
        "<HEAD>|<title>",
        "<hEaD\n>|",
        "<head/>|",
        "<!doctype html><html lang=\"en\"><head>|<meta>",
        "\u{feff}<!DOCTYPE html>\r\n<html>\n\t<head>|",
        "<!DOCTYPE html PUBLIC \"a><head>|\" b>",
        "<!-- <head> --><head>|",
        "<!-- > -- - -> --!><head>|",
        "<!--><head>|",
        "<!---><head>|",
        "<!----><head>|",
        "<!--a<!--><head>|",
        "<!--a--->  <head>|",
        "<!--a--!-b--><head>|",
        "<!---a--><head>|",
        "<!><head>|",
        "<!-><head>|",
        "<!-x <head><head>|",
        "<?xml version=\"1.0\"?><head>|",
        "<html a=\"<head>\" b='<head>'><head>|",
        "<head a=\"x>y\" b='\">'>|",
        "<head a = \"x>y\">|",
        "<head a=x\"y>|\">",
        "<head a=\"x\"b='>'>|",
        "<head \"x>|\">",
        "<head =\"x>|\">",
        "<head a/=\"x>|\">",
        "<head a=>|",
        "<html/><html><head data-x=1/2>|",
    ];

    const HEADLESS: &[&str] = &[
        "x<head>",
        "\0<head>",
        "<body><head>",
        "<title></title><head>",
        "<script>'<head>'</script><head>",
        "<header>",
        "<hea><head>",
        "<heads>",
        "<head-x>",
        "<html><body><head>",
        "</html><head>",
        "</p><head>",
        "< head>",
        "<1><head>",
        "<><head>",
        "\u{a0}<head>",
        "<html>\u{feff}<head>",
    ];

    const OPEN: &[&str] = &[
        "",
        "<",
        "<hea",
        "<head",
        "<head a",
        "<head a=\">",
        "<!-- <head>",
        "<!-- --<head>",
        "<!---<head>-",
        "<!doctype",
        "<html a='><head>",
        "<html <head",
    ];

    fn found(page: &str, chunk: usize) -> Option<Found> {
        let mut reader = Reader::default();
        page.as_bytes().chunks(chunk).find_map(|bytes| reader.read(bytes))
    }

    #[test]
    fn the_head_is_found_where_a_browser_finds_it() {
        for chunk in [1, 2, 3, 7, 1000] {
            for page in HEADS {
                let at = page.find('|').map(Found::At);
                assert_eq!(found(&page.replace('|', ""), chunk), at, "{page}");
            }
            for page in HEADLESS {
                assert_eq!(found(page, chunk), Some(Found::Nowhere), "{page}");
            }
            for page in OPEN {
                assert_eq!(found(page, chunk), None, "{page}");
            }
            for broken in [&b"\xef<head>"[..], b"\xef\xbb<head>", b" \xef\xbb\xbf<head>", b"<\xbb\xbfhead>"] {
                let mut reader = Reader::default();
                let found = broken.chunks(chunk).find_map(|bytes| reader.read(bytes));
                assert_eq!(found, Some(Found::Nowhere), "{broken:?}");
            }
        }
    }
}
