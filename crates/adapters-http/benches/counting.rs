//! Takes one step of a callback so many times, for `scripts/check-instructions` to count what that takes.

mod cases;

use cases::CASES;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &arguments[..] else {
        CASES.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let (_, prepare) = CASES.iter().find(|(case, _)| case == name).expect("the name of a case");
    let mut step = prepare();
    for _ in 0..times.parse().expect("a number") {
        step();
    }
}
