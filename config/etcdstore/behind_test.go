package etcdstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// lost waits for the Event that says that etcd has lost writes.
func (w *watcher) lost() {
	w.t.Helper()
	w.until("lost writes", func(e config.Event) bool { return errors.As(e.Err, new(*behindError)) })
}

// wipe makes an etcd have an empty data directory, as one that was set up anew.
func (r *rig) wipe() {
	r.t.Helper()
	r.etcd.Wipe()
	r.etcd.Restart()
}

// An etcd that is suddenly empty changes nothing that runs, on nodes that run and on those that start,
// until something is written with lbshipd.
func TestWipedEtcd(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{}))
	r.o.VerifyEvery = 2 * time.Second
	s := r.open()
	w := r.watch(s)
	for _, name := range []string{"a", "b", "c"} {
		r.write(s, source(t, name, ""))
	}
	w.want("a b c")
	r.wipe()
	w.lost()

	// A node that starts now.
	restarted := r.open()
	again := r.watch(restarted)
	if e := again.next(); names(e) != "a b c" || e.Cached {
		t.Fatalf("a start after that: %s, cached %v", names(e), e.Cached)
	}
	again.lost()

	written := r.write(s, source(t, "d", ""))
	if len(written.Warnings) == 0 || !strings.Contains(written.Warnings.Error(), "lost writes") || written.Revision.ID != 4 {
		t.Errorf("the write says %v, revision %d", written.Warnings, written.Revision.ID)
	}
	if e := w.want("d"); e.Cached {
		t.Error("after the write: it is from the cache")
	}
	again.want("d")
	r.write(s, source(t, "e", ""))
	w.want("d e")
	if _, err := s.Rollback(r.ctx(), 4, me); err != nil {
		t.Fatal(err)
	}
	w.want("d")
}

// What a node has that was away for all of it, too, is newer than what etcd holds.
func TestWipedAndWrittenAgainByHand(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{}))
	s := r.open()
	w := r.watch(s)
	r.put("sources/a", `{"name":"a","journald":{}}`)
	w.want("a")
	w.end()
	r.wipe()
	w = r.watch(r.open())
	if e := w.next(); names(e) != "a" || e.Cached {
		t.Fatalf("%s, cached %v", names(e), e.Cached)
	}
	w.lost()
	r.put("sources/z", `{"name":"z","journald":{}}`)
	w.want("z")
}

// Somebody who deletes everything under the prefix has not decided on anything; a reload of the node has.
func TestPrefixDeletedByHand(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	s := r.open()
	w := r.watch(s)
	r.write(s, source(t, "a", ""))
	w.want("a")
	r.deleteAll()
	w.lost()
	s.Reload()
	if e := w.until("an answer", func(e config.Event) bool { return e.Reloaded }); e.Config == nil || names(e) != "" || e.Cached {
		t.Fatalf("after the reload: %s", names(e))
	}
	r.write(s, source(t, "b", ""))
	w.want("b")
}

// What etcd holds again by itself is taken: it was restored from a newer copy.
func TestBackWithAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	s := r.open()
	w := r.watch(s)
	r.write(s, source(t, "a", ""))
	w.want("a")
	object, generation := r.get("sources/a"), r.get("generation")
	r.deleteAll()
	w.lost()
	r.put("sources/a", object)
	r.put("generation", generation)
	w.want("a")
}

// Whoever writes what is there already to an etcd that has lost writes says that it is right.
func TestLostWritesAreConfirmed(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	s := r.open()
	w := r.watch(s)
	r.write(s, source(t, "a", ""))
	r.write(s, source(t, "b", ""))
	r.write(s, source(t, "c", ""))
	w.want("a b c")
	// As from a copy that was made after the first write.
	ctx := r.ctx()
	if _, err := r.etcd.Client().Txn(ctx).Then(clientv3.OpPut(r.o.Prefix+"/generation", "1"), clientv3.OpDelete(r.o.Prefix+"/sources/b"),
		clientv3.OpDelete(r.o.Prefix+"/sources/c"), clientv3.OpDelete(s.changeKey(2)), clientv3.OpDelete(s.changeKey(3))).Commit(); err != nil {
		t.Fatal(err)
	}
	w.lost()
	dry := me
	dry.DryRun = true
	if _, err := s.Write(ctx, []config.Change{source(t, "a", "")}, dry); err != nil {
		t.Fatal(err)
	}
	if got := r.get("generation"); got != "1" {
		t.Fatalf("a dry run has written generation %s", got)
	}
	r.write(s, source(t, "a", ""))
	w.want("a")
	if got := r.get("generation"); got != "4" {
		t.Errorf("generation %s", got)
	}
	if _, err := s.Rollback(ctx, 1, me); err != nil {
		t.Errorf("rolling back over what was lost: %v", err)
	}
}

// A node that was given another etcd takes what that holds.
func TestAnotherEtcdOnPurpose(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	s := r.open()
	w := r.watch(s)
	r.write(s, source(t, "a", ""))
	w.want("a")
	w.end()
	other := testbed.StartEtcd(t, testbed.EtcdOptions{})
	r.etcd = other
	w = r.watch(r.open(func(o *Options) { o.Endpoints = other.Endpoints() }))
	w.want("")
}

// A revision of etcd that is counted once more is not taken for what it was the first time.
func TestSameRevisionOtherValue(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	s := r.open()
	key := s.objectKey(config.KindSource, "a")
	first := &snapshot{values: map[string]raw{key: {[]byte(`{"name":"a","journald":{}}`), 3, 1}}, revision: 3, cluster: 1}
	second := &snapshot{values: map[string]raw{key: {[]byte(`{"name":"a","journald":{},"minLevel":"error"}`), 3, 1}}, revision: 3, cluster: 1}
	if sameObjects(s, first, second) {
		t.Error("they are taken for the same")
	}
	s.objects(first)
	if got := s.objects(second)[0].Object.(*config.Source).MinLevel.String(); got != "error" {
		t.Errorf("minLevel %s", got)
	}
}

// A copy that is restored behind the back of a watch, whose revisions have caught
// up when it goes on, is noticed.
func TestRestoredAndCaughtUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{}))
	r.o.VerifyEvery = 20 * time.Second
	p := newProxy(t, r.etcd.Endpoints()[0])
	s := r.open(func(o *Options) { o.Endpoints = []string{p.endpoint()} })
	w := r.watch(s)
	direct := r.open()
	r.write(direct, source(t, "a", ""))
	r.write(direct, source(t, "b", ""))
	w.want("a b")
	p.close()
	r.wipe()
	// The same revisions, and keys of the same names.
	r.write(direct, source(t, "a", `, "minLevel": "error"`))
	r.write(direct, source(t, "b", ""))
	r.write(direct, source(t, "b", `, "minLevel": "error"`))
	p.open()
	w.until("both changes", func(e config.Event) bool {
		return names(e) == "a b" && e.Config.Sources[0].MinLevel.String() == "error" && e.Config.Sources[1].MinLevel.String() == "error"
	})
}

func (r *rig) deleteAll() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := r.etcd.Client().Delete(ctx, r.o.Prefix+"/", clientv3.WithPrefix()); err != nil {
		r.t.Fatal(err)
	}
}
