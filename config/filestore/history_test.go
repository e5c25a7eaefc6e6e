package filestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lbshipd/lbshipd/config"
)

const secrets = `formats: [{name: f, regex: '^<(?P<message>.*)> & "'}]
sources: [{name: a, journald: {}, logFormat: regex:f, labels: {l: "\u2028 <&>"}}]
targets: [{name: t, loki: {url: 'https://x', bearerToken: s3cret}}]
`

// revisions are those of a Store, as "ID AUTHOR: ACTION KIND/NAME ...", newest first.
func revisions(t testing.TB, s *Store) (out []string) {
	t.Helper()
	history, err := s.History(context.Background())
	must(t, err)
	for _, r := range history {
		line := fmt.Sprintf("%d %s:", r.ID, r.Author)
		for _, c := range r.Changes {
			line += fmt.Sprintf(" %s %s/%s", c.Action, c.Kind, c.Name)
		}
		out = append(out, line)
		if r.Time.IsZero() {
			t.Errorf("%s: no time", line)
		}
	}
	return out
}

// TestHistory: what is written and what is changed by hand is remembered across restarts, and
// can be gone back to.
func TestHistory(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	s := opened(t, secrets)
	s.KeepHistory(dir)
	if got := revisions(t, s); len(got) != 0 {
		t.Errorf("a file that is new has the history %v", got)
	}
	write(t, s.Path(), strings.Replace(secrets, "s3cret", "other", 1))
	if got := revisions(t, s); !cmp.Equal(got, []string{"1 file: update target/t"}) {
		t.Errorf("after a change by hand: %v", got)
	}
	must2 := func(_ config.Written, err error) { t.Helper(); must(t, err) }
	must2(s.Write(ctx, []config.Change{source(t, "b", ""), {Kind: config.KindTarget, Name: "t"}}, root))
	write(t, s.Path(), text(t, s)+"# a comment is no change\n")
	fromFile, err := ReadHistory(dir)
	must(t, err)
	if len(fromFile) != 2 || fromFile[0].ID != 2 || fromFile[1].Author != "file" {
		t.Errorf("the directory holds the history %+v", fromFile)
	}
	if text := fmt.Sprintf("%+v", fromFile); strings.Contains(text, "s3cret") || strings.Contains(text, "other") {
		t.Errorf("a secret is in %s", text)
	}
	s = reopened(t, s.Path(), dir)
	want := []string{"2 root: create source/b delete target/t", "1 file: update target/t"}
	if diff := cmp.Diff(want, revisions(t, s)); diff != "" {
		t.Errorf("after a restart\n%s", diff)
	}
	data, err := os.ReadFile(filepath.Join(dir, historyFile))
	must(t, err)
	info, err := os.Stat(filepath.Join(dir, historyFile))
	must(t, err)
	if info.Mode().Perm() != 0o600 || !strings.Contains(string(data), "s3cret") {
		t.Errorf("mode %o, or what was given is not kept", info.Mode().Perm())
	}
	history, err := s.History(ctx)
	must(t, err)
	for _, r := range history {
		for _, c := range r.Changes {
			if strings.Contains(c.Diff, "s3cret") || strings.Contains(c.Diff, "other") || c.Diff == "" {
				t.Errorf("diff of %d: %s", r.ID, c.Diff)
			}
		}
	}
	// While the daemon was away.
	s = reopened(t, s.Path(), dir)
	write(t, s.Path(), strings.Replace(text(t, s), "name: b", "name: c", 1))
	s = reopened(t, s.Path(), dir)
	if got := revisions(t, s); got[0] != "3 file: create source/c delete source/b" && got[0] != "3 file: delete source/b create source/c" {
		t.Errorf("changed while the daemon was away: %v", got)
	}

	w, err := s.Rollback(ctx, 1, root)
	must(t, err)
	if w.Revision.ID != 4 || w.Revision.Reason != "rollback to revision 1" || len(w.Objects) != 2 {
		t.Errorf("%+v", w)
	}
	if token := find(t, s, config.KindTarget, "t").Object.(*config.Target).Loki.BearerToken.Reveal(); token != "other" {
		t.Errorf("the token is %q", token)
	}
	if got := text(t, s); strings.Contains(got, "name: c") || !strings.Contains(got, "# a comment") {
		t.Errorf("got\n%s", got)
	}
	must2(s.Rollback(ctx, 3, root))
	if find(t, s, config.KindSource, "c"); strings.Contains(text(t, s), "name: t") {
		t.Errorf("got\n%s", text(t, s))
	}
	w, err = s.Rollback(ctx, 5, root)
	if err != nil || w.Revision.ID != 0 {
		t.Errorf("back to what is: %v, %+v", err, w)
	}
	for _, id := range []int64{0, 6, -1, 99} {
		if _, err := s.Rollback(ctx, id, root); !errors.Is(err, config.ErrNotFound) {
			t.Errorf("revision %d: %v", id, err)
		}
	}
	dry := root
	dry.DryRun = true
	if w, err := s.Rollback(ctx, 1, dry); err != nil || len(w.Revision.Changes) != 2 || strings.Contains(text(t, s), "name: t") {
		t.Errorf("%v, %+v", err, w)
	}
}

// TestHistoryIsBounded in entries and in bytes.
func TestHistoryIsBounded(t *testing.T) {
	s, ctx := opened(t, commented), context.Background()
	for i := range 60 {
		_, err := s.Write(ctx, []config.Change{source(t, "a", fmt.Sprintf(", labels: {n: '%d'}", i))}, root)
		must(t, err)
	}
	got := revisions(t, s)
	if len(got) != maxRevisions || got[0] != "60 root: update source/a" || got[maxRevisions-1] != "11 root: update source/a" {
		t.Errorf("%d revisions, %v", len(got), got[0])
	}
	if _, err := s.Rollback(ctx, 10, root); !errors.Is(err, config.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	_, err := s.Rollback(ctx, 11, root)
	must(t, err)
	if labels := find(t, s, config.KindSource, "a").Object.(*config.Source).Labels; labels["n"] != "10" {
		t.Errorf("labels %v", labels)
	}
	h := &history{}
	for range 10 {
		h.Revisions = append(h.Revisions, historyRevision{Given: []historyChange{{Before: make([]byte, maxHistoryBytes/4)}}})
	}
	if h.trim(); len(h.Revisions) != 4 {
		t.Errorf("%d large revisions", len(h.Revisions))
	}
	h.Revisions = append(h.Revisions, historyRevision{Given: []historyChange{{Before: make([]byte, 2*maxHistoryBytes)}}})
	if h.trim(); len(h.Revisions) != 1 {
		t.Errorf("%d revisions, of which the newest is too large by itself", len(h.Revisions))
	}
}

// TestDamagedHistory is set aside.
func TestDamagedHistory(t *testing.T) {
	for _, damage := range []string{"", "{", "null", `{"version":2,"key":"AAAAAAAAAAAAAAAAAAAAAAAA"}`, `{"version":1}`} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, historyFile), damage)
		s := opened(t, commented)
		s.KeepHistory(dir)
		if _, err := s.Write(context.Background(), []config.Change{source(t, "b", "")}, root); err != nil {
			t.Errorf("%q: %v", damage, err)
		}
		if kept, err := os.ReadFile(filepath.Join(dir, historyFile+".damaged")); err != nil || string(kept) != damage {
			t.Errorf("%q: %v, %q", damage, err, kept)
		}
		if got := revisions(t, reopened(t, s.Path(), dir)); len(got) != 1 {
			t.Errorf("%q: %v", damage, got)
		}
	}
	// A data directory that cannot be written to: what is written is written all the same.
	s := opened(t, commented)
	s.KeepHistory(filepath.Join(t.TempDir(), "gone"))
	if w, err := s.Write(context.Background(), []config.Change{source(t, "b", "")}, root); err != nil || w.Revision.ID != 1 || len(revisions(t, s)) != 1 {
		t.Errorf("%v, %+v", err, w)
	}
}

// TestWatchNotesChangesByHand when it sees them, and not what is broken.
func TestWatchNotesChangesByHand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	write(t, path, sample("a"))
	r := start(t, path, false)
	r.want("a")
	write(t, path, "sources: [{name: b, journal: {}}]\n")
	if e := r.next(); e.Err == nil || e.Hash != "" {
		t.Fatalf("%+v", e)
	}
	replace(t, path, sample("c"))
	r.want("c")
	r.store.mu.Lock()
	noted := r.store.openedHistory().list()
	r.store.mu.Unlock()
	if len(noted) != 1 || noted[0].Author != "file" || noted[0].Via != "file" || len(noted[0].Changes) != 2 {
		t.Errorf("%+v", noted)
	}
}
