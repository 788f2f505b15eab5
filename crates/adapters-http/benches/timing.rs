//! How long the steps of a callback take: `cargo bench --package adapters-http --bench timing`.

mod cases;

use cases::CASES;

fn main() {
    divan::main();
}

#[divan::bench(args = CASES.map(|(name, _)| name))]
fn step(bencher: divan::Bencher<'_, '_>, name: &str) {
    let (_, prepare) = CASES.iter().find(|(case, _)| *case == name).expect("a case");
    bencher.bench_local(prepare());
}
