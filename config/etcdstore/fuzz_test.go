package etcdstore

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
)

func fuzzStore(f *testing.F) *Store {
	keys, _ := newKeys(f)
	s, err := New(Options{Endpoints: []string{"127.0.0.1:1"}, Keys: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	return s
}

// Whatever stands in etcd, it harms only itself: the good one beside it stays, and
// what is taken can be written again.
func FuzzValue(f *testing.F) {
	s := fuzzStore(f)
	good := raw{[]byte(`{"name":"good","journald":{}}`), 1, 1}
	for i, v := range []string{
		`{"name":"x","journald":{}}`, `{"format":1,"version":1,"updated":"2026-01-02T03:04:05Z","by":"a","object":{"name":"x","journald":{}}}`,
		`{"name":"x","loki":{"url":"http://x","bearerToken":"sealed:v1:0123456789abcdef:AAAA"}}`, `{"object":`, `{"format":1,"object":null}`, "\xff", `[[[[`,
		`{"name":"x","caPem":"x","keyPem":"y"}`, `{"name":"x","regex":"("}`, `{"name":"x","logFormat":"json"}`, `{"name":"x","name":"y","journald":{},"journald":{}}`,
	} {
		f.Add(i, []byte(v), int64(i%2))
	}
	f.Fuzz(func(t *testing.T, kind int, value []byte, version int64) {
		k := config.Kinds()[uint(kind)%uint(len(config.Kinds()))]
		snap := &snapshot{values: map[string]raw{
			s.objectKey(k, "x"): {value, 2, version}, s.objectKey(config.KindSource, "good"): good,
		}}
		s.decoded.byKey = nil
		e, _ := s.event(snap)
		if e.Config == nil || e.Hash == "" {
			t.Fatal("no configuration")
		}
		found := false
		for _, o := range e.Config.Sources {
			found = found || o.Name == "good"
		}
		if !found {
			t.Fatalf("the good one is gone: %+v", e.Rejected)
		}
		is := s.stored(k, "x", snap.values[s.objectKey(k, "x")])
		if is.Err != nil {
			return
		}
		sealed, err := s.sealed(k, "x", is.Draft.Given)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again := s.stored(k, "x", raw{value: sealed})
		if again.Err != nil || string(again.Given) != string(is.Given) {
			t.Fatalf("%s was written, %s read: %v", is.Given, again.Given, again.Err)
		}
	})
}

// A cache file that was not written by us is never used, and one whose checksum is
// right never a panic, whatever is in it.
func FuzzCacheFile(f *testing.F) {
	s := fuzzStore(f)
	good, err := encodeCache(&snapshot{values: map[string]raw{
		"/lbshipd/sources/a": {[]byte(`{"name":"a","journald":{}}`), 1, 1}, "/lbshipd/generation": {[]byte("1"), 1, 1}}, revision: 3, cluster: 4}, "/lbshipd")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := decodeCache(good, "/lbshipd"); err != nil {
		f.Fatalf("what was written is not read: %v", err)
	}
	text, _, _ := bytes.Cut(good, []byte("\n"))
	f.Add(text)
	f.Add(good)
	f.Add(append(bytes.Clone(text), "\n"+strings.Repeat("0", 2*sha256.Size)+"\n"...))
	f.Add([]byte(`{"format":1,"prefix":"/lbshipd","keys":[{"key":"/sources/","value":"AAAA"},{"key":"x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Each process of the fuzzer writes the keys of good in an order of its own.
		body := data[:max(0, len(data)-2-2*sha256.Size)]
		written := bytes.Equal(data, fmt.Appendf(bytes.Clone(body), "\n%x\n", sha256.Sum256(body)))
		if _, err := decodeCache(data, "/lbshipd"); err == nil && !written {
			t.Fatalf("%q is taken for a cache", data)
		}
		sum := sha256.Sum256(data)
		path := filepath.Join(t.TempDir(), "etcd-cache")
		if err := os.WriteFile(path, fmt.Appendf(bytes.Clone(data), "\n%x\n", sum), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = ReadCache(path)
		snap, err := decodeCache(fmt.Appendf(bytes.Clone(data), "\n%x\n", sum), "/lbshipd")
		if err != nil {
			return
		}
		s.decoded.byKey = nil
		if e, _ := s.event(snap); e.Config == nil {
			t.Fatal("no configuration")
		}
	})
}

// An entry of the history that was not written by us is an error, never a panic.
func FuzzHistory(f *testing.F) {
	s := fuzzStore(f)
	text := `{"name":"x","journald":{}}`
	value, err := (&entry{Format: 1, Write: "w", Revision: config.Revision{ID: 2}, Before: []before{{Kind: config.KindSource, Name: "x", Value: &text}}}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte(`{"format":1,"before":[{"kind":"nothing","name":"../x","bytes":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := openEntry(data)
		if err != nil {
			return
		}
		changes, err := s.undo(map[int64]*entry{2: &e, 1: {}}, []int64{2, 1}, 1)
		if err == nil && len(changes) > len(e.Before) {
			t.Fatalf("%d changes of %d", len(changes), len(e.Before))
		}
		_, _, _ = s.resealValue(s.changeKey(2), raw{value: data})
	})
}
