package main

import (
	"os"
	"path/filepath"
	"testing"
)

func lbshipd(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("LBSHIPD_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin", "lbshipd")
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("the binary is not built (make build): %v", err)
	}
	return bin
}

// The commands that print the figures of docs/reliability.md, for seconds
// instead of minutes: nothing is lost. How fast it is, they do not judge.
func TestMeasurementsLoseNothing(t *testing.T) {
	t.Parallel()
	bin := lbshipd(t)
	for name, measure := range map[string]func() error{
		"outage": func() error {
			return outage([]string{"-bin", bin, "-for", "9s", "-before", "2s", "-rate", "4000", "-rotate", "10000", "-judge=false"})
		},
		"receiver":  func() error { return receiver([]string{"-bin", bin, "-n", "3", "-rate", "4000"}) },
		"rotations": func() error { return rotations([]string{"-bin", bin, "-for", "2s", "-rate", "5000"}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := measure(); err != nil {
				t.Error(err)
			}
		})
	}
}
