package ownfiles

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// What a file costs that is opened, beside a data directory with a hundred files.
func BenchmarkCheck(b *testing.B) {
	dir := b.TempDir()
	s := New()
	s.Keep("the data directory", dir+"/lib")
	s.Keep("the configuration file", dir+"/lbshipd.yaml")
	if err := os.MkdirAll(dir+"/lib/spool", 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		if err := os.WriteFile(fmt.Sprintf("%s/lib/spool/%d", dir, i), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	path := filepath.Join(dir, "app.log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Check(f); err != nil {
			b.Fatal(err)
		}
	}
}
