//! What every page owes to those who hear it, or see little of it: names, landmarks, contrast.

use std::collections::BTreeSet;

/// A tag of a page: its name, with a slash before it at the end of an element, its attributes, and the
/// text behind it.
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
    text: &'a str,
}

impl<'a> Tag<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(attribute, _)| *attribute == name).map(|(_, value)| *value)
    }

    fn is_named(&self) -> bool {
        ["aria-label", "aria-labelledby", "title"].iter().any(|name| self.get(name).is_some())
    }
}

/// Takes a page apart as far as the web UI's templates write it: attributes in double quotes.
fn tags(page: &str) -> Vec<Tag<'_>> {
    let parts = page.split('<').skip(1).filter(|part| !part.starts_with('!'));
    let tag = |part| {
        let (tag, text): (&str, &str) = str::split_once(part, '>').expect("a tag ends");
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = Vec::new();
        while !rest.trim().is_empty() {
            let end = rest.find(['=', ' ']).unwrap_or(rest.len());
            let attribute = rest.get(..end).unwrap_or_default();
            rest = rest.get(end..).unwrap_or_default();
            let value = rest.strip_prefix("=\"").and_then(|rest| rest.split_once('"'));
            let (value, behind) = value.unwrap_or(("", rest));
            rest = behind.trim_start();
            attributes.push((attribute, value));
        }
        Tag { name, attributes, text: text.trim() }
    };
    parts.map(tag).collect()
}

/// Says that a page can be used without seeing it: WCAG 2.1, criteria 1.1.1, 1.3.1, 2.4.1, 2.4.2, 2.4.3,
/// 3.1.1 and 4.1.2, as far as its text shows them.
pub(crate) fn check(path: &str, page: &str) {
    if !page.starts_with("<!DOCTYPE html>") {
        return;
    }
    let tags = tags(page);
    let count = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
    let of = |name: &'static str| tags.iter().filter(move |tag| tag.name == name);
    assert_eq!(of("html").next().and_then(|tag| tag.get("lang")), Some("en"), "{path}: language");
    assert!(of("title").all(|tag| !tag.text.is_empty()) && count("title") >= 1, "{path}: title");
    assert_eq!((count("h1"), count("main")), (1, 1), "{path}: one heading, one main part");
    assert!(of("meta").any(|tag| tag.get("name") == Some("viewport")), "{path}: viewport");
    assert!(of("nav").all(Tag::is_named), "{path}: two menus are told apart by their names");

    let mut level = 0;
    for tag in &tags {
        if let Some(Ok(now)) = tag.name.strip_prefix('h').map(str::parse::<u32>) {
            assert!(now <= level + 1, "{path}: h{now} after h{level}");
            level = now;
        }
    }
    let ids: Vec<&str> = tags.iter().filter_map(|tag| tag.get("id")).collect();
    let known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), known.len(), "{path}: an id stands twice: {ids:?}");
    let labelled: BTreeSet<&str> = of("label").filter_map(|tag| tag.get("for")).collect();
    let mut in_label = false;
    for (at, tag) in tags.iter().enumerate() {
        in_label = tag.name == "label" || in_label && tag.name != "/label";
        let text = || {
            let inside =
                tags[at..].iter().take_while(|inner| inner.name != format!("/{}", tag.name));
            inside.map(|inner| inner.text).collect::<String>()
        };
        let is_fine = match tag.name {
            "input" if matches!(tag.get("type"), Some("hidden" | "submit")) => true,
            "input" | "select" | "textarea" => {
                in_label || tag.is_named() || tag.get("id").is_some_and(|id| labelled.contains(id))
            }
            "button" | "a" | "summary" => tag.is_named() || !text().is_empty(),
            "th" => tag.get("scope").is_some(),
            "table" => {
                tag.is_named() || tags.get(at + 1).is_some_and(|next| next.name == "caption")
            }
            "img" => tag.get("alt").is_some(),
            "svg" => {
                tag.is_named() && matches!(tag.get("role"), Some("img" | "group"))
                    || tag.get("aria-hidden").is_some()
            }
            _ => true,
        };
        let attributes = &tag.attributes;
        assert!(is_fine, "{path}: {} {attributes:?} has no name, scope or caption", tag.name);
        assert!(
            !tag.get("tabindex").is_some_and(|at| at != "0" && at != "-1"),
            "{path}: {attributes:?}"
        );
        for name in ["for", "aria-labelledby", "aria-describedby", "aria-controls"] {
            let there =
                tag.get(name).unwrap_or_default().split_whitespace().all(|id| known.contains(id));
            assert!(there, "{path}: {name} names what is not there: {attributes:?}");
        }
    }
}

/// The relative luminance of a colour, as WCAG defines it.
fn luminance(colour: &str) -> f64 {
    let digits: Vec<u32> = colour.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let parts = match digits[..] {
        [r, g, b] => [r * 17, g * 17, b * 17],
        [a, b, c, d, e, f] => [a * 16 + b, c * 16 + d, e * 16 + f],
        _ => panic!("{colour}"),
    };
    let [r, g, b] = parts.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

#[test]
fn all_colours_of_text_stand_out_from_all_grounds_in_light_and_dark() {
    let style = include_str!("../../src/web/style.css");
    let schemes: Vec<&str> = style.split(":root {").skip(1).take(2).collect();
    assert_eq!(schemes.len(), 2);
    for scheme in schemes {
        let colour = |name: &str| {
            let (_, rest) = scheme.split_once(&format!("--{name}: ")).expect("it is defined");
            luminance(rest.split(';').next().unwrap_or_default().trim())
        };
        for text in ["fore", "dim", "link", "accent", "good", "bad"] {
            for ground in ["back", "zebra", "field"] {
                let (a, b) = (colour(text), colour(ground));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
            }
        }
    }
}

#[test]
fn what_a_page_lacks_is_seen() {
    let page = |body: &str| {
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><title>x</title><meta name=\"viewport\"></head>\
             <body><main><h1>x</h1>{body}</main></body></html>"
        )
    };
    check("whole", &page("<label>a <input name=\"a\"></label><h2>b</h2><a href=\"x\">c</a>"));
    for body in [
        "<input name=\"a\">",
        "<h3>b</h3>",
        "<a href=\"x\"></a>",
        "<h1>b</h1>",
        "<i id=\"a\"></i><i id=\"a\"></i>",
        "<table><tr><td>1</td></tr></table>",
        "<th>1</th>",
        "<svg><path></path></svg>",
        "<i tabindex=\"2\"></i>",
        "<label for=\"none\">a</label>",
        "<nav></nav>",
    ] {
        let page = page(body);
        assert!(std::panic::catch_unwind(|| check("broken", &page)).is_err(), "{body}");
    }
}
