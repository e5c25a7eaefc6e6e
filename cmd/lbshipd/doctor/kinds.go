package doctor

// Kind is one kind of finding.
type Kind struct {
	ID    string // stable: documentation and scripts name it
	Level Level  // as a rule
	What  string // what is found
	Why   string // why it matters
	Mend  string // what to do, in general; a finding has the commands
}

// Kinds lists every kind of finding, by family.
func Kinds() []Kind { return kinds }

func kindOf(id string) Kind {
	for _, k := range kinds {
		if k.ID == id {
			return k
		}
	}
	panic("there is no kind of finding " + id) // a mistake in this program
}

var kinds = []Kind{
	// Configuration.
	{"config-missing", Error, "The configuration file is not there.", "The daemon does not start without it.", "Create the file, or name the right one with --config."},
	{"config-unreadable", Error, "The daemon's user cannot read the configuration file.", "The daemon does not start, or goes on with what it read before.", "Give the file to the daemon's group, mode 0640."},
	{"config-invalid", Error, "The configuration file has a mistake.", "The daemon does not start with it; one that runs goes on with what it had before.", "Correct the line that is named; lbshipd check tells every mistake."},
	{"config-warning", Warning, "Something in the configuration is legal but odd.", "It is likely not what was meant.", "Correct the line that is named."},
	{"no-target", Warning, "There is no target that is enabled on this node.", "Nothing leaves this machine.", "Add a target."},
	{"no-source", Warning, "There is no source that is enabled on this node.", "Nothing is read.", "Add a source."},
	{"object-rejected", Error, "An object of the configuration cannot be used.", "The daemon does without it: what it reads, or is sent, stays where it is.", "Correct the object."},
	// Permissions.
	{"secret-exposed", Warning, "A file with a secret can be read by everybody on this machine.", "Whoever has a login here can take the key, password or token.", "Take the permission away."},
	{"config-writable", Error, "Others than root and the daemon's user may write the configuration.", "They decide what the daemon reads, and where it sends it.", "Take the permission away."},
	{"named-file-missing", Error, "A file that the configuration or a flag names is not there.", "The object that needs it, or the daemon, does not work.", "Put the file there, or correct its name."},
	{"named-file-unreadable", Error, "The daemon's user cannot read a file that the configuration or a flag names.", "The object that needs it, or the daemon, does not work.", "Give the file to the daemon's group, or hand it over as a credential."},
	{"data-dir-missing", Warning, "The data directory is not there, and the daemon's user cannot make it.", "The daemon does not start: there is nowhere to keep its positions.", "Create it for the daemon's user."},
	{"data-dir-unwritable", Error, "The daemon's user cannot write to the data directory.", "Positions cannot be saved: after a restart records are sent again, or the daemon does not start.", "Give the directory to the daemon's user."},
	{"data-dir-exposed", Warning, "Others may read the data directory.", "Spools and dead letters hold log lines, the cache of etcd holds the configuration.", "Take the permission away."},
	{"data-dir-locked", Error, "Another process uses the data directory.", "A second daemon does not start with the same directory.", "Stop one of the two, or give each a directory of its own."},
	// Sources.
	{"journal-missing", Error, "There is no journal where a source looks for one.", "The source yields nothing.", "Start journald, or correct the directory."},
	{"journal-no-access", Error, "The daemon's user cannot read the journal.", "The source yields nothing.", "Put the daemon into the group systemd-journal."},
	{"file-unreadable", Error, "The daemon's user cannot read a log file.", "Its lines stay where they are, and are lost if it is deleted.", "An ACL for the daemon's group, a group, or the capability CAP_DAC_READ_SEARCH."},
	{"file-hidden", Error, "The daemon's unit hides a log file from it.", "The file does not exist for the daemon.", "A drop-in that shows it."},
	{"file-none", Warning, "No file is at the paths of a source.", "The source yields nothing until there is one.", "Correct the path, or start what writes there."},
	{"file-deleted-in-use", Warning, "A program goes on writing to a log file that was deleted.", "The daemon reads on as long as it runs; after a restart nobody finds what is written then. The disk space is not freed.", "Have the program open its log anew: reload or restart it."},
	{"file-deleted-held", Warning, "The daemon holds a deleted file open because a target has not had all of it.", "The disk space is not freed; beyond maxHeldBytes the oldest is given up and lost.", "Mend the target; the file is then let go."},
	{"source-error", Error, "A source cannot be read.", "Its records stay where they are.", "See what the message names."},
	{"source-silent", Warning, "A source has yielded nothing for longer than its silentAfter.", "The service may have died, or its log is elsewhere now.", "Look at what writes there."},
	// Machine.
	{"clock-off", Error, "This machine's clock and that of another machine differ.", "Loki refuses what is too old or too new, certificates seem expired or not yet valid, and times in the logs are wrong.", "Synchronise the clock."},
	{"clock-unsynchronised", Warning, "Nothing synchronises this machine's clock.", "It drifts, and the times of log lines with it.", "Turn time synchronisation on."},
	{"disk-full", Error, "The disk of the data directory is full.", "Positions cannot be saved, spools and dead letters cannot be written.", "Make room."},
	{"disk-low", Warning, "The disk of the data directory is almost full.", "When it is full, positions cannot be saved.", "Make room."},
	{"inodes-full", Error, "The file system of the data directory has no inodes left.", "No file can be created there: positions cannot be saved.", "Delete files, many small ones most likely."},
	{"disk-read-only", Error, "The file system of the data directory is read-only.", "Positions cannot be saved.", "See why, then mount it for writing."},
	{"spool-too-large", Warning, "The spools may grow larger than the disk has room.", "They end when the disk is full, and everything else on it suffers.", "Lower maxBytes of the spools, or make room."},
	{"inotify-limit", Warning, "The kernel's limit of inotify is below what the configuration needs.", "New lines and files are found by looking now and then: later, and with more work.", "Raise the limit."},
	{"open-files-limit", Error, "The limit of open files is below what the configuration needs.", "Some files cannot be read.", "Raise the limit in the unit."},
	// Targets.
	{"target-invalid", Error, "A target cannot be made of its settings.", "Nothing is sent to it.", "Correct the target."},
	{"target-dns", Error, "The name of a target's host has no address.", "Nothing reaches the target; records stay at their sources.", "Correct the name, or the name servers of this machine."},
	{"target-refused", Error, "A target's host refuses the connection.", "Nothing reaches the target; records stay at their sources.", "Start the server, or correct the port."},
	{"target-unreachable", Error, "A target does not answer.", "Nothing reaches the target; records stay at their sources.", "Look at the route and at firewalls."},
	{"target-tls-expired", Error, "A target's certificate has expired.", "Nothing is sent to the target; records stay at their sources.", "Renew the server's certificate."},
	{"target-tls-not-yet-valid", Error, "A target's certificate is not valid yet.", "Nothing is sent to the target; records stay at their sources.", "Compare the clocks; else wait, or renew the server's certificate."},
	{"target-tls-ca", Error, "A target's certificate is by an authority that is not trusted.", "Nothing is sent to the target; records stay at their sources.", "Put the authority into the TLS bundle, if it is the right one."},
	{"target-tls-name", Error, "A target's certificate is for another name.", "Nothing is sent to the target; records stay at their sources.", "Connect by the certificate's name, or give it as serverName."},
	{"target-tls-fingerprint", Error, "A target's certificate has another fingerprint than is accepted.", "Nothing is sent to the target; records stay at their sources.", "Make sure that the certificate is the right one, then give its fingerprint."},
	{"target-tls-client", Error, "A target refuses the TLS handshake, our certificate most likely.", "Nothing is sent to the target; records stay at their sources.", "Give the TLS bundle a certificate that the server knows."},
	{"target-tls", Error, "TLS with a target fails.", "Nothing is sent to the target; records stay at their sources.", "See what the message says; does the server speak TLS on that port?"},
	{"target-auth", Error, "A target refuses our credentials (HTTP 401 or 403).", "Nothing is sent to the target; records stay at their sources.", "Correct the password, token or tenant."},
	{"target-rate-limited", Error, "A target takes no more for now (HTTP 429).", "Records wait at their sources; what they drop meanwhile is lost.", "Raise the tenant's limits, or send less."},
	{"target-not-loki", Error, "What answers at a target's URL is not Loki.", "Nothing is taken; records stay at their sources.", "Correct the URL."},
	{"target-failing", Error, "A target takes no records.", "Records stay at their sources; what they drop meanwhile is lost.", "See what the message says; lbshipd test target tries it again."},
	{"at-risk", Error, "A source will soon drop what a target has not taken.", "Those records will be lost.", "Mend the target, give it a spool, or have the source keep more."},
	// Certificates.
	{"certificate-expired", Error, "A certificate has expired.", "Whoever is shown it refuses the connection.", "Renew it."},
	{"certificate-expires", Warning, "A certificate expires within 30 days.", "From then on whoever is shown it refuses the connection.", "Renew it."},
	{"certificate-not-yet-valid", Error, "A certificate is not valid yet.", "Whoever is shown it refuses the connection.", "Compare the clock; else wait, or renew it."},
	{"certificate-unusable", Error, "A certificate cannot be read.", "What names it does not work.", "Put a certificate in PEM form there."},
	// etcd.
	{"etcd-unreachable", Error, "A member of etcd does not answer.", "Without any, this node goes on with what it had last and learns of no change.", "Start the member, or correct --etcd-endpoints."},
	{"etcd-tls", Error, "TLS with etcd fails.", "This node goes on with what it had last and learns of no change.", "Correct --etcd-ca, --etcd-cert and --etcd-key."},
	{"etcd-auth", Error, "etcd refuses our user.", "This node goes on with what it had last and learns of no change.", "Correct the user, its password, or its rights."},
	{"etcd-nospace", Error, "etcd has run out of its quota and takes no writes (alarm NOSPACE).", "Nothing can be changed, and nodes cannot report.", "Compact and defragment it, then clear the alarm."},
	{"etcd-alarm", Error, "etcd has raised an alarm.", "Its data may be damaged.", "See etcd's documentation of the alarm."},
	{"etcd-no-leader", Error, "A member of etcd has no leader.", "It answers nothing until a majority of members is back.", "Start the other members."},
	{"etcd-slow", Warning, "etcd answers slowly.", "Changes arrive late; beyond 5 s writes fail.", "Look at its disk and at the network."},
	{"etcd-bad-object", Error, "An object in etcd cannot be used.", "All nodes do without it.", "Write it again with lbshipd, or delete it."},
	{"etcd-sealed", Error, "The cluster key file does not open a secret in etcd.", "This node does without the object.", "Copy the cluster key file of a node that opens it."},
	{"cluster-key-unusable", Error, "The cluster key file, or another file of the flags for etcd, cannot be used.", "The daemon does not start.", "Copy the file from another node."},
	// Daemon.
	{"daemon-not-running", Warning, "No daemon runs.", "Nothing is shipped.", "Start it."},
	{"daemon-no-answer", Error, "The daemon runs but does not answer.", "Whether it ships is not known.", "See its log; restart it."},
	{"config-refused", Error, "The daemon refuses the newest configuration.", "It goes on with what it had before.", "Correct what is named."},
	{"store-away", Error, "The daemon cannot reach etcd.", "It goes on with what it had last and learns of no change.", "See the findings of etcd."},
	{"positions-not-saved", Error, "The daemon cannot save its positions.", "After a restart records are sent again.", "See the findings of the disk."},
	{"spool-failing", Error, "A target's spool cannot be written.", "Records stay at their sources.", "See the findings of the disk."},
	{"spool-full", Warning, "A target's spool is full.", "Records stay at their sources; what they drop is lost.", "Mend the target, or raise the spool's maxBytes."},
	{"ledger-difference", Error, "The ledger does not add up.", "That is a fault of lbshipd.", "Report it, with a support bundle."},
	{"daemon-degraded", Warning, "The daemon says that something is not as it should be.", "See what it says.", "See its status."},
}
