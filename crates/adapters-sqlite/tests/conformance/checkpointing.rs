use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use conformance::fixtures::{register, registration};

use super::File;

#[test]
fn what_is_written_reaches_its_place_while_the_ledger_is_open() {
    let file = File::migrated();
    let content = || fs::read(file.path()).expect("a file");
    let before = content();
    let ledger = file.ledger();
    for n in 0..100 {
        register(&ledger, &registration(&format!("p{n}"), &format!("o{n}")), 0);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while content() == before {
        assert!(Instant::now() < deadline, "all of it is still in the write-ahead log alone");
        thread::sleep(Duration::from_millis(20));
    }
}
