.DEFAULT_GOAL := help
.PHONY: help run test demo bench check fmt compose-up compose-down

KEYS := PAYMENT_API_KEY PORTAL_API_KEY OPERATOR_API_KEY

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: ## build and serve on the embedded SQLite store
	@scripts/bootstrap
	cargo build --release --locked
	@scripts/run

test: ## run every test, those on a real PostgreSQL included
	@scripts/bootstrap postgres
	scripts/with-postgres cargo test --workspace --locked

demo: ## show the whole life of a payment, on a temporary store or on a spare database, DATABASE_URL
	@scripts/bootstrap
	cargo build --release --locked
	cargo run --release --locked --package simulator --bin demo

check: ## what CI runs: format, lints, tests, the interface, the portal's side, instruction counts, documentation, alerts
	@scripts/bootstrap postgres prometheus python valgrind
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	INSTA_UPDATE=no scripts/with-postgres cargo test --workspace --locked
	scripts/with-postgres scripts/check-interface
	scripts/with-postgres scripts/check-portal
	scripts/check-instructions
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	scripts/check-observability
	grep -rnIE '[[:blank:]]+$$' --exclude-dir=.git --exclude-dir=target --exclude='*.http' .; test $$? = 1 # none found

bench: ## measure what docs/performance.md explains; ARGS="--only closed --rounds 1" for a minute
	@scripts/bootstrap postgres
	cargo build --release --locked --workspace
	FSYNC=on scripts/with-postgres target/release/benchmark $(ARGS)

fmt: ## format the code
	cargo fmt --all

.PHONY: compose-2
compose-2:
	@docker compose version >/dev/null 2>&1 || { \
	    echo "Docker with Compose 2 or later is missing (docker compose): https://docs.docker.com/compose/install" >&2; \
	    exit 1; }

# The stand-ins take the place of neighbours that .env names: a trial tells no real portal of an order.
compose-up: compose-2 ## run the service, PostgreSQL and stand-ins in Docker; PROFILE=replicas for two behind a proxy
	@scripts/write-env $(KEYS) POSTGRES_PASSWORD PORTAL_EVENTS_SECRET PAYMENT_SERVICE_API_KEY
	COMMIT=$$(git rev-parse --short=12 HEAD 2>/dev/null) \
	PORTAL_EVENTS_URL=http://portal:8001/payment-events LOGGING_SERVICE_URL=http://logging:8003 \
	docker compose --profile stand-ins $(PROFILE:%=--profile %) up --build --detach --wait

compose-down: compose-2 ## stop what compose-up started; the data stay in the volume
	docker compose --profile stand-ins --profile replicas down
