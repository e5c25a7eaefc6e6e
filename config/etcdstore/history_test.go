package etcdstore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/seal"
)

// The history says who did what, without secrets, and keeps the last 50.
func TestHistory(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	if h, err := s.History(r.ctx()); err != nil || h == nil || len(h) != 0 {
		t.Fatalf("%v, %v", h, err)
	}
	o := me
	o.Author.Reason = "why not"
	if _, err := s.Write(r.ctx(), []config.Change{target(t, "out", "s3cret")}, o); err != nil {
		t.Fatal(err)
	}
	r.write(s, target(t, "out", "an0ther"))
	h, err := s.History(r.ctx())
	if err != nil || len(h) != 2 || h[0].ID != 2 || h[1].ID != 1 || h[1].Reason != "why not" || h[1].Author != "ada" || h[1].Via != "token" || h[1].Time.IsZero() {
		t.Fatalf("%+v, %v", h, err)
	}
	if d := h[0].Changes[0]; d.Action != "update" || d.Name != "out" || !strings.Contains(d.Diff, "password") || strings.Contains(d.Diff, "an0ther") || strings.Contains(d.Diff, "s3cret") {
		t.Errorf("diff: %s", d.Diff)
	}
	for i := range historyKept + 5 {
		r.write(s, source(t, "a", fmt.Sprintf(", labels: {n: '%d'}", i)))
	}
	h, err = s.History(r.ctx())
	if err != nil || len(h) != historyKept || h[0].ID != 2+historyKept+5 || h[historyKept-1].ID != 8 {
		t.Fatalf("%d entries from %d on, %v", len(h), h[len(h)-1].ID, err)
	}
	res, err := r.etcd.Client().Get(r.ctx(), r.o.Prefix+"/changes/", prefixed, countOnly)
	if err != nil || res.Count != historyKept {
		t.Errorf("%d keys of the history, %v", res.Count, err)
	}
}

// A rollback makes everything what it was, secrets too, and is a write of its own.
func TestRollback(t *testing.T) {
	r := newRig(t, nil)
	keys, _ := newKeys(t)
	r.o.Keys = keys
	s := r.open()
	r.write(s, source(t, "a", ""), target(t, "out", "s3cret"))                                                 // 1
	r.write(s, source(t, "b", ""), target(t, "out", "an0ther"))                                                // 2
	r.write(s, config.Change{Kind: config.KindSource, Name: "a"}, source(t, "b", ", minLevel: info"))          // 3
	r.put("sources/hand", `{"name":"hand","journald":{}}`)                                                     // in no history
	r.write(s, config.Change{Kind: config.KindTarget, Name: "out"}, source(t, "hand", ", minLevel: critical")) // 4
	w, err := s.Rollback(r.ctx(), 1, me)
	if err != nil || w.Revision.ID != 5 || w.Revision.Reason != "rollback to 1" || len(w.Revision.Changes) != 4 {
		t.Fatalf("%+v, %v", w.Revision, err)
	}
	all, err := s.List(r.ctx())
	if err != nil || len(all) != 3 || all[0].Name != "a" || all[1].Name != "hand" || all[2].Name != "out" || strings.Contains(string(all[1].Given), "critical") {
		t.Fatalf("%+v, %v", all, err)
	}
	if p := all[2].Object.(*config.Target).Loki.BasicAuth.Password.Reveal(); p != "s3cret" {
		t.Errorf("password %s", p)
	}
	// Back to before the rollback; and to where we are, which is nothing.
	if _, err := s.Rollback(r.ctx(), 4, me); err != nil {
		t.Fatal(err)
	}
	if all, _ := s.List(r.ctx()); len(all) != 2 || all[0].Name != "b" || !strings.Contains(string(all[0].Given), "info") {
		t.Fatalf("%+v", all)
	}
	if w, err := s.Rollback(r.ctx(), 6, me); err != nil || w.Revision.ID != 0 || len(w.Revision.Changes) != 0 {
		t.Errorf("%+v, %v", w, err)
	}
	for _, id := range []int64{0, 7, -1} {
		_, err := s.Rollback(r.ctx(), id, me)
		wantError(t, err, config.ErrNotFound)
	}
	// A hole is not stepped over.
	r.put("changes/0000000000000000006", "rubbish")
	if _, err := s.Rollback(r.ctx(), 5, me); err == nil || !strings.Contains(err.Error(), "damaged at revision 6") {
		t.Errorf("over a hole: %v", err)
	}
	if h, err := s.History(r.ctx()); err != nil || len(h) != 5 {
		t.Errorf("%d entries, %v", len(h), err)
	}
}

// Secrets are sealed in etcd, wherever they are, and open only with the key.
func TestSecretsAreSealed(t *testing.T) {
	r := newRig(t, nil)
	clear := r.open()
	r.write(clear, target(t, "old", "s3cret-old"))
	if !strings.Contains(r.get("targets/old"), "s3cret-old") {
		t.Fatal("without keys it is not what was written")
	}
	keys, path := newKeys(t)
	r.o.Keys = keys
	s := r.open()
	r.write(s, target(t, "out", "s3cret-1"))
	r.write(s, target(t, "out", "s3cret-2"))
	r.write(s, config.Change{Kind: config.KindTarget, Name: "out"})
	r.write(s, target(t, "out", "s3cret-3"))
	dump := r.dump()
	for i := 1; i <= 3; i++ {
		if strings.Contains(dump, fmt.Sprintf("s3cret-%d", i)) {
			t.Errorf("secret %d is in etcd in clear", i)
		}
	}
	if n := strings.Count(dump, "sealed:v1:"+keys.Current()); n != 3 {
		t.Errorf("%d sealed secrets: %s", n, dump)
	}
	password := func(name, want string) {
		t.Helper()
		if o := r.find(s, config.KindTarget, name); o.Err != nil || o.Object.(*config.Target).Loki.BasicAuth.Password.Reveal() != want {
			t.Fatalf("%s: %v %s", name, o.Err, o.Given)
		}
	}
	password("old", "s3cret-old")
	password("out", "s3cret-3")

	// Without the key, and with another one, it is rejected; the other object is not.
	another, _ := newKeys(t)
	for want, o := range map[string]*Store{"no cluster key file": clear, "not in the key file": r.open(func(o *Options) { o.Keys = another })} {
		e := r.watch(o).want("old")
		if len(e.Rejected) != 1 || e.Rejected[0].Name != "out" || !strings.Contains(e.Rejected[0].Reason, want) {
			t.Errorf("rejected: %+v", e.Rejected)
		}
		if hash := r.watch(r.open()).next().Hash; hash != e.Hash {
			t.Errorf("hash %s with the key, %s without", hash, e.Hash)
		}
	}
	// A sealed text does not open in another object.
	r.put("targets/thief", strings.ReplaceAll(r.get("targets/out"), `"name":"out"`, `"name":"thief"`))
	if o := r.find(s, config.KindTarget, "thief"); o.Err == nil || !strings.Contains(o.Err.Error(), "sealed for another object") {
		t.Errorf("moved: %v", o.Err)
	}
	r.put("targets/thief", "")
	if _, err := clear.Write(r.ctx(), []config.Change{target(t, "x", "sealed:v1:")}, me); err == nil || !strings.Contains(err.Error(), `may begin with "sealed:"`) {
		t.Errorf("a secret that looks sealed: %v", err)
	}

	// Rotation.
	second := must2(seal.Add(path))
	must2(seal.Promote(path))
	etag := r.find(s, config.KindTarget, "out").Etag
	before := r.watch(s).next()
	done, err := s.Reseal(r.ctx())
	if err != nil || done.KeyID != second || done.Objects != 2 || done.Secrets != 4 || done.History != 2 || len(done.Errors) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if o := r.find(s, config.KindTarget, "out"); o.Etag != etag || o.By != "ada" {
		t.Errorf("resealed: etag %s by %s", o.Etag, o.By)
	}
	must2(seal.Prune(path))
	if dump = r.dump(); strings.Count(dump, "sealed:v1:") != strings.Count(dump, "sealed:v1:"+second) || strings.Contains(dump, "s3cret") {
		t.Errorf("not all is sealed with %s: %s", second, dump)
	}
	password("old", "s3cret-old")
	password("out", "s3cret-3")
	if done, err = s.Reseal(r.ctx()); err != nil || done.Objects != 0 || done.Secrets != 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
	if e := r.watch(r.open()).next(); e.Hash != before.Hash {
		t.Errorf("the hash is another one")
	}
	if _, err := s.Rollback(r.ctx(), 2, me); err != nil {
		t.Fatal(err)
	}
	password("out", "s3cret-1")
	// Written on, and edited by hand, the Etag is another.
	r.write(s, target(t, "out", "s3cret-9"))
	resealed := r.find(s, config.KindTarget, "old")
	r.put("targets/old", r.get("targets/old"))
	if o := r.find(s, config.KindTarget, "old"); o.Etag == resealed.Etag || o.By != "etcd" || r.find(s, config.KindTarget, "out").Etag == etag {
		t.Errorf("etag %s by %s", o.Etag, o.By)
	}
	if _, err := clear.Reseal(r.ctx()); err == nil {
		t.Error("resealed without keys")
	}
}

// Keys that are put into the file later open what was rejected before.
func TestKeysAreReloaded(t *testing.T) {
	r := newRig(t, nil)
	keys, path := newKeys(t)
	s := r.open(func(o *Options) { o.Keys = keys })
	r.write(s, target(t, "out", "s3cret"))
	late, latePath := newKeys(t)
	r.o.FilesEvery = 50_000_000
	w := r.watch(r.open(func(o *Options) { o.Keys = late }))
	if e := w.next(); len(e.Rejected) != 1 {
		t.Fatalf("rejected: %+v", e.Rejected)
	}
	data, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(latePath, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.want("out")
}

func must2(id string, err error) string {
	if err != nil {
		panic(err)
	}
	return id
}

// dump returns all values under the prefix.
func (r *rig) dump() string {
	r.t.Helper()
	res, err := r.etcd.Client().Get(r.ctx(), r.o.Prefix+"/", prefixed)
	if err != nil {
		r.t.Fatal(err)
	}
	var b strings.Builder
	for _, kv := range res.Kvs {
		fmt.Fprintf(&b, "%s %s\n", kv.Key, kv.Value)
	}
	return b.String()
}
