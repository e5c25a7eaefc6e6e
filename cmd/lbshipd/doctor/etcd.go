package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/etcdstore"
)

// slowEtcd is what one answer of etcd may take.
const slowEtcd = 500 * time.Millisecond

// readEtcd reads the configuration that etcd holds, as the daemon does. What is wrong with
// etcd itself is the check of etcd's.
func (p *patient) readEtcd(ctx context.Context, r *result) {
	if p.EtcdErr != nil {
		where := p.ClusterKey
		if where == "" {
			where = "etcd's flags"
		}
		if errors.Is(p.EtcdErr, fs.ErrPermission) && !isRoot() {
			r.notMade("%v: run doctor as root", p.EtcdErr)
			return
		}
		r.add(found("cluster-key-unusable", where, p.EtcdErr.Error(),
			run("On a node where it works, see which file is used.", "systemctl show -p Environment -p EnvironmentFiles %s", unitName),
			run("Copy it, and keep it to the daemon.", "install -m 0640 -o root -g %s cluster.key %s", quoted(p.user.group()), quoted(where))))
		return
	}
	o := *p.Etcd
	o.CacheFile, o.Log, o.Dir, o.Node = filepath.Join(p.DataDir, "etcd-cache"), slog.New(slog.DiscardHandler), p.Dir, p.Node
	store, err := etcdstore.New(o)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) && !isRoot() {
			r.notMade("%v: run doctor as root", err)
			return
		}
		r.add(found("cluster-key-unusable", "etcd's flags", err.Error(), say("Correct the files that the flags name.")))
		return
	}
	defer store.Close()
	objects, err := store.List(ctx)
	if err != nil {
		away := err
		if objects, err = store.ListCached(); err != nil {
			r.notMade("what etcd holds is not known: %v; and it is not known what it held last: %v", away, err)
			return
		}
		r.notMade("what etcd holds is not known: what it held last, as this node has kept it, is looked at instead")
	}
	c, bad := config.Assemble(objects)
	for _, x := range bad {
		r.add(p.badObject(x))
	}
	for _, x := range p.use(c) {
		if !p.names(x) {
			r.add(rejected(x, run("Correct it.", "lbshipd edit %s %s", x.Kind, quoted(x.Name))))
		}
	}
}

// badObject is the finding of an object that etcd holds and nobody can use.
func (p *patient) badObject(x config.Rejected) Finding {
	key := fmt.Sprintf("%s/%s/%s", p.prefix(), x.Kind.Plural(), x.Name)
	where := fmt.Sprintf("%s %q (key %s)", x.Kind, x.Name, key)
	if strings.Contains(x.Reason, "sealed") {
		f := found("etcd-sealed", where, x.Reason)
		if p.ClusterKey == "" {
			return with(f, run("Tell the daemon where the cluster key file is.", `echo 'LBSHIPD_OPTIONS=--cluster-key-file /etc/lbshipd/cluster.key' >> /etc/lbshipd/daemon.env`))
		}
		return with(f, run("Copy the key file of a node that opens it over this one.", "install -m 0640 -o root -g %s cluster.key %s", quoted(p.user.group()), quoted(p.ClusterKey)),
			run("Or, if no node does: write the object again, with its secrets.", "lbshipd edit %s %s", x.Kind, quoted(x.Name)))
	}
	return found("etcd-bad-object", where, x.Reason,
		run("See what is stored.", "etcdctl --endpoints %s get %s", quoted(strings.Join(p.Etcd.Endpoints, ",")), quoted(key)),
		run("See what it was before somebody changed it.", "lbshipd history"),
		run("Write it again with lbshipd apply -f, or delete it.", "lbshipd delete %s %s", x.Kind, quoted(x.Name)))
}

func with(f Finding, mend ...Remedy) Finding {
	f.Mend = append(f.Mend, mend...)
	return f
}

func (p *patient) prefix() string {
	if p.Etcd.Prefix == "" {
		return "/lbshipd"
	}
	return p.Etcd.Prefix
}

// checkEtcd asks every member how it does.
func checkEtcd(ctx context.Context, p *patient, r *result) {
	if p.Etcd == nil || p.EtcdErr != nil {
		return
	}
	all, err := etcdstore.Examine(ctx, *p.Etcd)
	if err != nil {
		r.notMade("%v", err)
		return
	}
	for i := range all {
		p.lookAtMember(r, &all[i])
	}
}

func (p *patient) lookAtMember(r *result, x *etcdstore.Examination) {
	where := "etcd " + x.Endpoint
	ctl := "etcdctl --endpoints " + quoted(x.Endpoint)
	switch {
	case x.Err == nil:
	case x.Refused:
		r.add(found("etcd-auth", where, x.Err.Error(),
			run("See what the user may do.", "%s user get %s --detail", ctl, quoted(p.Etcd.User)),
			say("Correct --etcd-user and the file of --etcd-password-file, or give the user a role with read and write for the keys below %s/.", p.prefix())))
	case x.TLS:
		r.add(found("etcd-tls", where, x.Err.Error(),
			run("See what is shown.", "timeout 10 openssl s_client -connect %s -showcerts </dev/null", quoted(hostPort(x.Endpoint))),
			say("Correct --etcd-ca, --etcd-cert and --etcd-key.")))
	case x.NoLeader:
		r.add(found("etcd-no-leader", where, x.Err.Error(), run("See which members are up.", "etcdctl --endpoints %s endpoint status -w table", quoted(strings.Join(p.Etcd.Endpoints, ",")))))
	default:
		r.add(found("etcd-unreachable", where, x.Err.Error(),
			run("On that machine: see whether it runs.", "systemctl status etcd"),
			run("From here: see whether its port can be reached.", "curl -sv --max-time 5 telnet://%s </dev/null", quoted(hostPort(x.Endpoint)))))
	}
	for _, alarm := range x.Alarms {
		if alarm != "NOSPACE" {
			r.add(found("etcd-alarm", where, "it has raised the alarm "+alarm, run("See who has raised it.", "%s alarm list", ctl)))
			continue
		}
		r.add(found("etcd-nospace", where, "its data has reached its quota, it takes no writes (alarm NOSPACE)",
			run("Drop old revisions.", `%s compact "$(%s endpoint status -w json | grep -o '"revision":[0-9]*' | head -n1 | cut -d: -f2)"`, ctl, ctl),
			run("Give the room back, member by member.", "%s defrag", ctl),
			run("Then take writes again.", "%s alarm disarm", ctl),
			say("So that it does not come again: --auto-compaction-retention=30m on every member (docs/scale.md).")))
	}
	if x.Err == nil && x.NoLeader {
		r.add(found("etcd-no-leader", where, "it has no leader: most of the other members are away",
			run("See which members are up.", "etcdctl --endpoints %s endpoint status -w table", quoted(strings.Join(p.Etcd.Endpoints, ",")))))
	}
	if x.Err == nil && x.Took > slowEtcd {
		r.add(found("etcd-slow", where, fmt.Sprintf("one answer takes %s", x.Took.Round(time.Millisecond)),
			run("See how long its disk takes.", "curl -s %s/metrics | grep etcd_disk_wal_fsync_duration_seconds", quoted(x.Endpoint))))
	}
}

// hostPort is an endpoint without its scheme.
func hostPort(endpoint string) string {
	if _, rest, ok := strings.Cut(endpoint, "://"); ok {
		return rest
	}
	return endpoint
}
