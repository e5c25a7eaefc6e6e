// Tests of the built binary against real servers. A module of its own: it
// takes the binary as it is, and only the test rigs from the main module.
module github.com/lbshipd/lbshipd/e2e

go 1.26.0

replace github.com/lbshipd/lbshipd => ../

require github.com/lbshipd/lbshipd v0.0.0-00010101000000-000000000000
