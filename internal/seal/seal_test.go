package seal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// rig makes a key file and loads it.
func rig(t testing.TB) (*Keys, string) {
	path := filepath.Join(t.TempDir(), "cluster.key")
	must[string](t)(Create(path))
	return must[*Keys](t)(Load(path)), path
}

var place = Place{"target", "siem", "loki.basicAuth.password"}

func TestSealedTextOpensOnlyWhereItBelongs(t *testing.T) {
	keys, _ := rig(t)
	sealed := must[string](t)(keys.Seal(place, "s3cret"))
	if !IsSealed(sealed) || KeyID(sealed) != keys.Current() || strings.Contains(sealed, "s3cret") {
		t.Fatalf("sealed text is %s", sealed)
	}
	if again := must[string](t)(keys.Seal(place, "s3cret")); again == sealed {
		t.Error("the same text is sealed to the same twice: the nonce is not random")
	}
	if text := must[string](t)(keys.Open(place, sealed)); text != "s3cret" {
		t.Errorf("opened %q", text)
	}
	for _, p := range []Place{
		{"source", "siem", place.Field}, {"target", "sie", place.Field}, {"target", "siem", "loki.bearerToken"},
		{"target", "siemloki.", "basicAuth.password"}, {"targetsiem", "", place.Field}, {},
	} {
		if _, err := keys.Open(p, sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("it opens at %v: %v", p, err)
		}
	}
}

// Every character that is changed is noticed.
func TestDamagedTextDoesNotOpen(t *testing.T) {
	keys, _ := rig(t)
	sealed := must[string](t)(keys.Seal(place, "s3cret"))
	for i := range sealed {
		for _, c := range []byte{'A', 'B', '=', '\n', 0} {
			if sealed[i] == c {
				continue
			}
			damaged := sealed[:i] + string(c) + sealed[i+1:]
			if text, err := keys.Open(place, damaged); err == nil {
				t.Errorf("%q opens as %q", damaged, text)
			}
		}
	}
	for _, text := range []string{"", "sealed:", "sealed:v1:", "sealed:v1::", "sealed:v2" + sealed[9:], sealed + "A", sealed + "\n", sealed[:len(sealed)-1], strings.Repeat("A", 10)} {
		if _, err := keys.Open(place, text); err == nil {
			t.Errorf("%q opens", text)
		}
	}
}

// The way of a rotation: both keys open at every step, and the old one is gone at the end.
func TestRotation(t *testing.T) {
	keys, path := rig(t)
	before := must[string](t)(keys.Seal(place, "old"))
	first := keys.Current()
	second := must[string](t)(Add(path))
	if got := keys.Current(); got != first {
		t.Fatalf("%s seals, want %s", got, first)
	}
	must[string](t)(Promote(path))
	if got := keys.Current(); got != second {
		t.Fatalf("%s seals, want %s", got, second)
	}
	after := must[string](t)(keys.Seal(place, "new"))
	if KeyID(after) != second {
		t.Fatalf("sealed with %s", KeyID(after))
	}
	for sealed, want := range map[string]string{before: "old", after: "new"} {
		if text := must[string](t)(keys.Open(place, sealed)); text != want {
			t.Errorf("opened %q, want %q", text, want)
		}
	}
	must[string](t)(Prune(path))
	if changed, err := keys.Refresh(); !changed || err != nil {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if _, err := keys.Open(place, before); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), first) {
		t.Errorf("without its key: %v", err)
	}
	must[string](t)(keys.Open(place, after))
}

// A file that becomes unusable is said, and what was read of it stays in use.
func TestKeysOutliveABadFile(t *testing.T) {
	keys, path := rig(t)
	sealed := must[string](t)(keys.Seal(place, "s3cret"))
	good := must[[]byte](t)(os.ReadFile(path))
	for _, f := range []func() error{
		func() error { return os.WriteFile(path, []byte("rubbish\n"), 0o600) },
		func() error { return errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, 0o604)) },
		func() error { return os.Remove(path) },
	} {
		must[any](t)(nil, f())
		for range 2 {
			if changed, err := keys.Refresh(); changed || err == nil {
				t.Fatalf("changed %v, error %v", changed, err)
			}
		}
		must[string](t)(keys.Open(place, sealed))
		must[string](t)(keys.Seal(place, "more"))
	}
	must[any](t)(nil, os.WriteFile(path, good, 0o600))
	if changed, err := keys.Refresh(); changed || err != nil {
		t.Fatalf("the same keys again: changed %v, %v", changed, err)
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	_, path := rig(t)
	good := string(must[[]byte](t)(os.ReadFile(path)))
	lines := strings.Split(strings.TrimSpace(good), "\n")
	line := lines[len(lines)-1]
	swap := func(c byte) byte {
		if c == 'A' {
			return 'B'
		}
		return 'A'
	}
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"everybody reads": {good, 0o644, "its mode is 0644"},
		"group writes":    {good, 0o660, "its mode is 0660"},
		"empty":           {"", 0o600, "holds no key"},
		"only comments":   {"# a\n\n", 0o600, "holds no key"},
		"id alone":        {line[:idSize], 0o600, "line 1: must be a key's id"},
		"one letter":      {line[:20] + string(swap(line[20])) + line[21:], 0o600, "does not belong to its id"},
		"short":           {line[:len(line)-4], 0o600, "32 bytes"},
		"twice":           {"#\n" + line + "\n" + line, 0o600, "line 3: this key was there before"},
		"long":            {strings.Repeat("#\n", maxFile), 0o600, "larger than"},
	} {
		p := filepath.Join(t.TempDir(), "k")
		must[any](t)(nil, errors.Join(os.WriteFile(p, []byte(c.text), 0o600), os.Chmod(p, c.mode)))
		_, err := Load(p)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), line[idSize+1:]) {
			t.Errorf("%s: the error holds the key", name)
		}
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	must[any](t)(nil, syscall.Mkfifo(fifo, 0o600))
	if _, err := Load(fifo); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("fifo: %v", err)
	}
	if _, err := Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("an old file is overwritten: %v", err)
	}
	must[any](t)(nil, os.Chmod(path, 0o640))
	must[string](t)(Add(path))
	if st := must[os.FileInfo](t)(os.Stat(path)); st.Mode().Perm() != 0o640 {
		t.Errorf("mode became %v", st.Mode())
	}
}

// Whatever is opened, it does not panic, and nothing opens but what was sealed.
func FuzzOpen(f *testing.F) {
	keys, _ := rig(f)
	sealed := must[string](f)(keys.Seal(place, "s3cret"))
	for _, s := range []string{sealed, sealed[:len(sealed)-1], "sealed:v1:" + keys.Current() + ":", "sealed:v1:x:y", "sealed:", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := keys.Open(place, text)
		if (err == nil) != (text == sealed) {
			t.Fatalf("%q opens as %q, %v", text, got, err)
		}
		if KeyID(text) != "" && !IsSealed(text) {
			t.Fatalf("%q has a key and is not sealed", text)
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	f.Add(format([]*key{newKey(), newKey()}))
	f.Add([]byte("# x\n0123456789abcdef AAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parse(data)
		if err != nil {
			return
		}
		again, err := parse(format(keys))
		if err != nil || !same(keys, again) {
			t.Fatalf("what was read is not read again: %v", err)
		}
	})
}
