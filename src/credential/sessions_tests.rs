//! The list of sessions: bounds, lifetimes, clocks that jump.

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
const LIFETIMES: Lifetimes =
    Lifetimes { remembered: Duration::from_secs(30 * DAY), browser: Duration::from_secs(12 * HOUR) };

/// Seconds after some day.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn guest(remember: bool) -> Guest {
    Guest { remember, peer: "192.0.2.7".parse().unwrap(), agent: "Mozilla/5.0 (X11)".to_owned() }
}

fn open(sessions: &mut Sessions, id: u8, remember: bool, now: SystemTime) -> Digest {
    sessions.open(&Secret::new([id; 32]), &guest(remember), now, LIFETIMES).digest
}

#[test]
fn a_session_says_who_opened_it_and_never_its_id() {
    let mut sessions = Sessions::default();
    let told = Guest {
        remember: true,
        peer: "::ffff:192.0.2.7".parse().unwrap(),
        agent: format!("a\u{1b}[2Jb\u{202e}é\n{}", "x".repeat(9_999)),
    };
    let session = sessions.open(&Secret::new([7; 32]), &told, at(0) + Duration::from_millis(999), LIFETIMES);
    assert_eq!(session.opened, at(0));
    assert_eq!(session.ends, at(30 * DAY));
    assert_eq!(session.peer.to_string(), "192.0.2.7");
    assert!(session.agent.starts_with("a?[2Jb????x") || session.agent.starts_with("a?[2Jb???x"), "{}", session.agent);
    assert_eq!(session.agent.len(), AGENT_LIMIT);
    assert_eq!(session.digest, digest(&Secret::new([7; 32])));
    assert_ne!(session.digest, [7; 32]);
    assert_eq!(sessions.find(&session.digest, at(1), LIFETIMES), Some(&session));
    assert_eq!(sessions.find(&[7; 32], at(1), LIFETIMES), None);
}

/// When it is used, and until when it then lasts.
#[test]
fn remembered_sessions_slide_and_others_do_not() {
    let table = [
        (true, vec![], 30 * DAY),
        (true, vec![9 * MINUTE], 30 * DAY),
        (true, vec![10 * MINUTE], 30 * DAY + 10 * MINUTE),
        (true, vec![29 * DAY, 58 * DAY], 88 * DAY),
        (true, vec![31 * DAY], 0),
        (false, vec![], 12 * HOUR),
        (false, vec![HOUR, 11 * HOUR], 12 * HOUR),
        (false, vec![13 * HOUR], 0),
    ];
    for (remember, uses, end) in table {
        let mut sessions = Sessions::default();
        let digest = open(&mut sessions, 1, remember, at(0));
        for used in &uses {
            sessions.slide(&digest, at(*used), LIFETIMES);
        }
        let last = uses.last().copied().unwrap_or(0);
        let found = sessions.clone().find(&digest, at(last), LIFETIMES).map(|session| session.ends);
        assert_eq!(found, (end > 0).then(|| at(end)), "{remember} {uses:?}");
        if end > 0 {
            assert!(sessions.find(&digest, at(end - 1), LIFETIMES).is_some(), "{remember} {uses:?}");
        }
        assert_eq!(sessions.find(&digest, at(end.max(last)), LIFETIMES), None, "{remember} {uses:?}");
        sessions.expire(at(end.max(last)), LIFETIMES);
        assert_eq!(sessions.len(), 0);
    }
}

#[test]
fn a_use_is_noted_every_ten_minutes_or_ten_times_a_lifetime() {
    let mut sessions = Sessions::default();
    let kinds = [true, false].map(|remember| open(&mut sessions, remember.into(), remember, at(0)));
    for digest in kinds {
        assert_eq!(sessions.slide(&digest, at(599), LIFETIMES), Slide::Fresh);
        assert_eq!(sessions.slide(&digest, at(600), LIFETIMES), Slide::Noted);
        assert_eq!(sessions.slide(&digest, at(601), LIFETIMES), Slide::Fresh);
        assert_eq!(sessions.find(&digest, at(601), LIFETIMES).unwrap().seen, at(600));
    }
    assert_eq!(sessions.slide(&[0; 32], at(600), LIFETIMES), Slide::Gone);
    let short = Lifetimes { remembered: Duration::from_secs(60), browser: Duration::from_secs(60) };
    let mut sessions = Sessions::default();
    let digest = sessions.open(&Secret::new([1; 32]), &guest(true), at(0), short).digest;
    for used in (5..600).step_by(5) {
        assert_ne!(sessions.slide(&digest, at(used), short), Slide::Gone, "in use, at {used}");
    }
    assert_eq!(sessions.slide(&digest, at(660), short), Slide::Gone);
}

#[test]
fn the_least_recently_seen_makes_room() {
    let mut sessions = Sessions::default();
    let all: Vec<Digest> = (0..64).map(|id| open(&mut sessions, id, true, at(id.into()))).collect();
    let (first, second) = (all.first().unwrap(), all.get(1).unwrap());
    assert_eq!(sessions.slide(first, at(HOUR), LIFETIMES), Slide::Noted);
    let newest = open(&mut sessions, 64, false, at(HOUR));
    assert_eq!(sessions.len(), LIMIT);
    assert!(sessions.contains(first) && sessions.contains(&newest) && !sessions.contains(second));
}

#[test]
fn one_is_ended_by_digest_or_by_name_and_all_at_once() {
    let mut sessions = Sessions::default();
    let [one, two, three] = [1, 2, 3].map(|id| open(&mut sessions, id, true, at(0)));
    assert!(sessions.end(&one) && !sessions.end(&one));
    let name = hex(&two).get(..12).unwrap().to_owned();
    for malformed in ["", "12345678901", "1234567890123", "12345678901g", "-23456789012", "\u{1b}[2J\u{1b}[2J\u{1b}[2J"]
    {
        let told = sessions.end_named(malformed).unwrap_err();
        assert!(matches!(&told, NameError::Malformed(_)) && !told.to_string().contains('\u{1b}'), "{malformed:?}");
    }
    assert_eq!(sessions.end_named("000000000000"), Err(NameError::Unknown("000000000000".to_owned())));
    assert_eq!(sessions.end_named(&name.to_uppercase()).map(|ended| ended.digest), Ok(two));
    assert_eq!(sessions.end_named(&name), Err(NameError::Unknown(name)));
    assert!(sessions.contains(&three));
    assert_eq!((sessions.end_all(), sessions.end_all(), sessions.len()), (1, 0, 0));
}

#[test]
fn a_name_of_two_ends_neither() {
    let mut sessions = Sessions::default();
    let one = open(&mut sessions, 1, true, at(0));
    let mut twin = sessions.iter().next().unwrap().clone();
    if let Some(last) = twin.digest.last_mut() {
        *last ^= 1;
    }
    sessions = Sessions::restore(sessions.iter().cloned().chain([twin]).collect()).unwrap();
    let name = hex(&one).get(..12).unwrap().to_owned();
    assert_eq!(sessions.end_named(&name), Err(NameError::Ambiguous(name)));
    assert_eq!(sessions.len(), 2);
}

#[test]
fn what_is_restored_is_bounded_and_without_doubles() {
    let mut sessions = Sessions::default();
    open(&mut sessions, 1, true, at(0));
    let model = sessions.iter().next().unwrap().clone();
    assert_eq!(Sessions::restore(vec![model.clone(), model.clone()]), None);
    let many = (0..200u8).map(|id| Session { digest: [id; 32], seen: at(id.into()), ..model.clone() }).collect();
    let kept = Sessions::restore(many).unwrap();
    assert_eq!(kept.len(), LIMIT);
    assert!(kept.contains(&[199; 32]) && kept.contains(&[136; 32]) && !kept.contains(&[135; 32]));
}

/// What the clock showed at the opening, what it shows now, and how long the session may then live at most.
#[test]
fn a_clock_that_was_wrong_makes_nobody_immortal() {
    for (remember, opened, most) in [(true, 9_999 * DAY, 30 * DAY), (false, 9_999 * DAY, 12 * HOUR)] {
        let mut sessions = Sessions::default();
        let digest = open(&mut sessions, 1, remember, at(opened));
        for look in [0, 1, most / 2, most - 1] {
            assert!(sessions.find(&digest, at(look), LIFETIMES).is_some(), "{remember} {look}");
        }
        assert_eq!(sessions.find(&digest, at(most), LIFETIMES), None, "{remember}");
    }
}

#[test]
fn a_shortened_lifetime_holds_for_sessions_that_are_open() {
    let shorter = Lifetimes { remembered: Duration::from_secs(DAY), browser: Duration::from_secs(HOUR) };
    let mut sessions = Sessions::default();
    let [remembered, browser] = [(1, true), (2, false)].map(|(id, kind)| open(&mut sessions, id, kind, at(0)));
    assert!(sessions.find(&remembered, at(DAY - 1), shorter).is_some());
    assert!(sessions.find(&remembered, at(DAY), shorter).is_none());
    assert!(sessions.find(&browser, at(HOUR - 1), shorter).is_some());
    assert!(sessions.find(&browser, at(HOUR), shorter).is_none());
    assert!(sessions.find(&browser, at(HOUR), LIFETIMES).is_none(), "a longer one does not bring it back");
}

#[derive(Debug, Clone)]
enum Step {
    Open(u8, bool),
    Slide(u8),
    Find(u8),
    End(u8),
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        (any::<u8>(), any::<bool>()).prop_map(|(id, remember)| Step::Open(id, remember)),
        any::<u8>().prop_map(Step::Slide),
        any::<u8>().prop_map(Step::Find),
        any::<u8>().prop_map(Step::End),
        Just(Step::Expire),
    ];
    // Any clock: back and forth by months.
    prop::collection::vec((0..200 * DAY, step), 0..300)
}

proptest! {
    #[test]
    fn whatever_happens_and_whatever_the_clock_says_every_session_is_bounded(steps in steps()) {
        let mut sessions = Sessions::default();
        let mut ended: Vec<Digest> = Vec::new();
        for (seconds, step) in steps {
            let now = at(seconds);
            let of = |id: u8| digest(&Secret::new([id; 32]));
            let before: Vec<Session> = sessions.iter().cloned().collect();
            match step {
                Step::Open(id, remember) => {
                    let opened = open(&mut sessions, id, remember, now);
                    ended.retain(|digest| *digest != opened);
                    prop_assert!(sessions.find(&opened, now, LIFETIMES).is_some());
                }
                Step::Slide(id) => {
                    let slid = sessions.slide(&of(id), now, LIFETIMES);
                    prop_assert!(!(ended.contains(&of(id)) && slid != Slide::Gone));
                }
                Step::Find(id) => {
                    if let Some(found) = sessions.find(&of(id), now, LIFETIMES) {
                        prop_assert!(found.opened <= found.seen && found.seen <= now && now < found.ends);
                        prop_assert!(found.ends <= now + LIFETIMES.of_kind(found.remember));
                        prop_assert!(!ended.contains(&found.digest));
                    }
                }
                Step::End(id) => {
                    sessions.end(&of(id));
                    ended.push(of(id));
                }
                Step::Expire => {
                    sessions.expire(now, LIFETIMES);
                    prop_assert!(sessions.iter().all(|session| session.ends > now && session.seen <= now));
                }
            }
            prop_assert!(sessions.len() <= LIMIT);
            for session in sessions.iter().filter(|session| !session.remember) {
                let earlier = before.iter().find(|other| other.digest == session.digest);
                let later = earlier.is_some_and(|earlier| earlier.opened == session.opened && earlier.ends < session.ends);
                prop_assert!(!later, "a session without remember me never gets a later end");
            }
        }
    }

    #[test]
    fn a_name_is_judged_without_panic(name in ".*") {
        prop_assert!(Sessions::default().end_named(&name).is_err());
    }
}
