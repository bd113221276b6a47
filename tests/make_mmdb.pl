#!/usr/bin/perl
# Makes a small MMDB for tests, the demonstration and the benchmark.
#
#   usage: make_mmdb.pl [--flat] [--registered] [--asn] [--v4] OUT.mmdb [LIST]
#
# LIST (or standard input) has lines "network CC", e.g. "45.154.0.0/16 NL"; '#' begins a comment. The
# layout is that of GeoLite2-Country; --registered gives entries a registered_country only, --flat
# writes the other makers' country_code, --asn an ASN database without countries; --v4 makes a tree for
# IPv4 only. Needs Debian's libmaxmind-db-writer-perl.
use strict;
use warnings;

use Getopt::Long;
use MaxMind::DB::Writer::Tree;

my ($flat, $registered, $asn, $v4);
GetOptions('flat' => \$flat, 'registered' => \$registered, 'asn' => \$asn, 'v4' => \$v4) && @ARGV >= 1 && @ARGV <= 2
    or die "usage: make_mmdb.pl [--flat] [--registered] [--asn] [--v4] OUT.mmdb [LIST]\n";
my $out = shift;

my %types = (
    country            => 'map',
    registered_country => 'map',
    country_code       => 'utf8_string',
    iso_code           => 'utf8_string',
    names              => 'map',
    en                 => 'utf8_string',
    autonomous_system_organization => 'utf8_string',
);

my $tree = MaxMind::DB::Writer::Tree->new(
    database_type            => $asn ? 'GeoLite2-ASN' : $flat ? 'banmesh-test-flat' : 'GeoLite2-Country',
    description              => { en => 'made by make_mmdb.pl, for tests only' },
    languages                => ['en'],
    ip_version               => $v4 ? 4 : 6,
    record_size              => 24,
    alias_ipv6_to_ipv4       => $v4 ? 0 : 1,
    remove_reserved_networks => 0,
    map_key_type_callback    => sub { $types{ $_[0] } },
);

while (my $line = <>) {
    $line =~ s/#.*//;
    next if $line !~ /\S/;
    my ($network, $code) = $line =~ m{^\s*(\S+/\d+)\s+(\S+)\s*$}
        or die "line $.: expected \"network/prefix CC\"\n";
    my $country = { iso_code => $code, names => { en => $code } };
    $tree->insert_network(
        $network,
          $asn        ? { autonomous_system_organization => $code }
        : $flat       ? { country_code       => $code }
        : $registered ? { registered_country => $country }
        :               { country => $country, registered_country => $country }
    );
}

# Written beside it and renamed, so that nobody ever reads half of it.
open my $file, '>:raw', "$out.new" or die "$out.new: $!\n";
$tree->write_tree($file);
close $file or die "$out.new: $!\n";
rename "$out.new", $out or die "$out: $!\n";
