//! Askers on the control socket: good ones, broken ones, slow ones, and who may not ask.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Instant;

use super::*;
use crate::supervisor::tail::{LineEnd, Tail};

/// A socket whose requests are answered with themselves; `logs` with the lines of this tail.
fn serving(tail: &Tail) -> (tempfile::TempDir, Control) {
    let place = tempfile::tempdir().unwrap();
    let mut control = Control::claim(place.path()).unwrap();
    let (sender, mut events) = mpsc::channel(8);
    control.serve(&sender).unwrap();
    let tail = tail.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let Event::Asked { request, reply } = event else { unreachable!("{event:?}") };
            let answer = match request {
                Request::Logs { lines, follow } => {
                    let (kept, news) = tail.listen(lines);
                    Reply::Lines(kept, follow.then_some(news))
                }
                _ => Reply::Once(Answer::Done(format!("{request:?}"))),
            };
            reply.send(answer).unwrap();
        }
    });
    (place, control)
}

/// What ComfyUI does when it prints a line.
fn write(tail: &Tail, line: String) {
    tail.end(&mut line.into_bytes(), LineEnd::Feed);
}

async fn asked(control: &Control, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(&control.path).await.unwrap();
    // Who is refused at the door is not listened to: its words end in an error, the answer is there all the same.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn each_request_gets_one_answer_and_the_end() {
    let (_place, control) = serving(&Tail::default());
    assert_eq!(asked(&control, b"{\"command\":\"status\"}\n").await, "{\"done\":\"Status\"}\n");
    assert_eq!(asked(&control, b"{\"command\":\"restart\"}\n").await, "{\"done\":\"Restart\"}\n");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_harms_nobody() {
    let (_place, control) = serving(&Tail::default());
    let mut long = vec![b' '; LONGEST_REQUEST + 1];
    long.push(b'\n');
    for bytes in [b"status\n".as_slice(), b"{\"command\":\"stop\"}\n", b"\xff\xfe\n", b"\n", &long, &[b'x'; 100_000]] {
        let answer = asked(&control, bytes).await;
        assert!(answer.starts_with("{\"error\":"), "{answer}");
    }
    assert_eq!(asked(&control, b"{\"command\":\"status\"}\n").await, "{\"done\":\"Status\"}\n");
}

#[tokio::test]
async fn who_says_nothing_is_sent_away_and_the_places_are_bounded() {
    let (_place, control) = serving(&Tail::default());
    let begun = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..AT_ONCE {
        silent.push(UnixStream::connect(&control.path).await.unwrap());
    }
    silent[0].write_all(b"{\"command\":").await.unwrap();
    assert!(asked(&control, b"{\"command\":\"status\"}\n").await.contains("too many ask at once"));
    for mut stream in silent {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("no request came"), "{answer}");
    }
    assert!(begun.elapsed() >= TIME && begun.elapsed() < TIME * 2, "{:?}", begun.elapsed());
    assert_eq!(asked(&control, b"{\"command\":\"status\"}\n").await, "{\"done\":\"Status\"}\n");
}

#[tokio::test]
async fn a_follower_hears_what_was_and_what_comes_and_a_slow_one_how_much_it_lost() {
    let tail = Tail::default();
    let (_place, control) = serving(&tail);
    for number in 0..5 {
        write(&tail, format!("old {number}"));
    }
    let mut stream = UnixStream::connect(&control.path).await.unwrap();
    stream.write_all(b"{\"command\":\"logs\",\"lines\":2,\"follow\":true}\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    for expected in ["old 3", "old 4"] {
        assert_eq!(lines.next_line().await.unwrap().unwrap(), format!("{{\"line\":\"{expected}\"}}"));
    }
    write(&tail, "new".to_owned());
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "{\"line\":\"new\"}");
    // More than the socket's buffer and the queue hold together, with nobody reading.
    let total = 4000;
    for number in 0..total {
        write(&tail, format!("{number} {}", "x".repeat(1000)));
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let (mut heard, mut lost) = (0, 0);
    while heard + lost < total {
        match serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap() {
            Answer::Line(_) => heard += 1,
            Answer::Lost(count) => lost += count,
            other => panic!("{other:?}"),
        }
    }
    assert!(lost > 0 && heard > 0 && heard + lost == total, "{heard} {lost}");
}

#[tokio::test]
async fn followers_leave_room_for_others_and_their_places_come_back() {
    let (_place, control) = serving(&Tail::default());
    let follow = b"{\"command\":\"logs\",\"follow\":true}\n";
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        let mut stream = UnixStream::connect(&control.path).await.unwrap();
        stream.write_all(follow).await.unwrap();
        followers.push(stream);
    }
    assert!(asked(&control, follow).await.contains("too many follow"));
    assert_eq!(asked(&control, b"{\"command\":\"status\"}\n").await, "{\"done\":\"Status\"}\n");
    drop(followers);
    let mut stream = UnixStream::connect(&control.path).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream.write_all(follow).await.unwrap();
    let mut byte = [0];
    let silence = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut byte)).await;
    assert!(silence.is_err(), "it follows: {silence:?}");
}

#[tokio::test]
async fn a_state_directory_has_one_guard_and_the_socket_goes_with_it() {
    let (place, control) = serving(&Tail::default());
    let second = Control::claim(place.path()).unwrap_err().to_string();
    assert!(second.contains("another comfy-guard uses the state directory"), "{second}");
    drop(control);
    assert!(!place.path().join(SOCKET).exists());
    Control::claim(place.path()).unwrap();
}

#[test]
fn root_and_the_guards_own_user_may_ask_and_nobody_else() {
    let table =
        [(0, 0, true), (0, 990, true), (990, 990, true), (991, 990, false), (990, 0, false), (65534, 990, false)];
    for (peer, own, may) in table {
        assert_eq!(may_ask(Uid(peer), Uid(own)), may, "{peer} {own}");
    }
}

#[test]
fn without_a_socket_the_guard_starts_all_the_same() {
    let place = tempfile::tempdir().unwrap();
    let deep = place.path().join("x".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    assert!(Control::claim(&deep).unwrap().listener.is_none(), "the path is too long for a socket");
}
