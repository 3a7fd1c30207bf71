# plot.gp -- how the cost of a look-up grows with the pins in the store: the growth rows of build/bench.tsv.
set terminal pngcairo size 1000, 640 font "sans,13"
set output "build/bench.png"
set title "One look-up, by pins in the store (median)"
set xlabel "pins in the store"
set ylabel "ns"
set logscale x
set xrange [0.5:8e6]
set yrange [0:*]
set format x "%.0s%c"
set grid
set key top left Left reverse
rows(kind) = sprintf("< sed -n 's/^growth_%s_//p' build/bench.tsv", kind)
plot rows("raw") using 1:2 with linespoints lw 2 pt 7 lc rgb "#888888" title "liblmdb: renew, get, reset", \
     rows("pinned") using 1:2 with linespoints lw 2 pt 7 lc rgb "#c05020" title "pinroute\\_route\\_read, a key with a pin", \
     rows("pins") using 1:2 with linespoints lw 2 pt 7 lc rgb "#2060a0" title "pinroute\\_route\\_read, a key without"
