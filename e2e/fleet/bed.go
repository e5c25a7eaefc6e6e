package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// bed is what the rigs of internal/testbed need of a test, for a program.
type bed struct{ cleanups []func() }

var _ testbed.TB = (*bed)(nil)

// broken is the panic by which a rig that cannot go on ends the run.
type broken struct{ text string }

func (b *bed) Helper() {}

func (b *bed) Fatalf(format string, args ...any) { panic(broken{fmt.Sprintf(format, args...)}) }

func (b *bed) Skipf(format string, args ...any) { b.Fatalf(format, args...) }

func (b *bed) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bed) Cleanup(f func()) { b.cleanups = append(b.cleanups, f) }

// clean runs what was registered, the newest first.
func (b *bed) clean() {
	for _, f := range slices.Backward(b.cleanups) {
		f()
	}
}
