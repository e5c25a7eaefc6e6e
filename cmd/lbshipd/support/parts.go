package support

import "context"

// part is one file of a bundle.
type part struct {
	file  string
	about string
	// gather writes it. An error goes to the manifest; what was written before it is kept.
	gather func(*gatherer, context.Context, *writer) error
}

// parts are all that a bundle holds, one line each, in the order in which they are gathered: what
// needs the daemon to answer is among the first, while it is as it was found.
var parts = []part{
	{"version.json", "this program", (*gatherer).version},
	{"daemon/status.json", "what runs, its targets, the ledger, what is at risk", (*gatherer).status},
	{"daemon/metrics.txt", "all metrics", (*gatherer).metrics},
	{"daemon/version.json", "the program that the daemon runs", (*gatherer).daemonVersion},
	{"daemon/objects.json", "the configuration as the daemon has it, without secrets", (*gatherer).objects},
	{"daemon/collectors.json", "what each node reports", (*gatherer).collectors},
	{"daemon/goroutines.txt", "where each goroutine of the daemon is", (*gatherer).goroutines},
	{"daemon/log.txt", "the daemon's own messages", (*gatherer).log},
	{"config/file.yaml", "the configuration file, read and written anew, without secrets", (*gatherer).configFile},
	{"config/etcd-copy.json", "what the daemon last saw in etcd, without secrets", (*gatherer).etcdCopy},
	{"config/history.json", "the last changes, without secrets", (*gatherer).history},
	{"config/command-line.txt", "how the daemon was started", (*gatherer).commandLine},
	{"state/positions.txt", "how far each target has answered for each input", (*gatherer).positions},
	{"state/ledger.json", "the ledger that is stored", (*gatherer).ledger},
	{"state/data-directory.txt", "names and sizes of the daemon's state", (*gatherer).dataDirectory},
	{"paths.txt", "modes and owners of what the configuration names", (*gatherer).paths},
	{"process/status.txt", "the daemon's process: memory, threads", (*gatherer).process},
	{"process/limits.txt", "its limits", (*gatherer).limits},
	{"process/files.txt", "the files that it has open", (*gatherer).openFiles},
	{"process/cgroup.txt", "its control group: memory, processor", (*gatherer).cgroup},
	{"system/os.txt", "kernel, distribution, memory, load", (*gatherer).system},
	{"system/sysctl.txt", "limits of the kernel", (*gatherer).sysctls},
	{"system/disks.txt", "space on the file systems that matter", (*gatherer).disks},
	{"system/units.txt", "the units with their drop-ins, and journald's settings", (*gatherer).units},
	{"doctor.txt", "what lbshipd doctor finds", (*gatherer).doctor},
}

func (g *gatherer) version(_ context.Context, w *writer) error { return w.json(g.o.Version) }

func (g *gatherer) doctor(ctx context.Context, w *writer) error {
	if g.o.Doctor == nil {
		return errNone
	}
	text, err := g.o.Doctor(ctx, g.settings)
	w.Write(text)
	return err
}
