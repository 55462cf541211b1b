# Manual pages.
dist_man_MANS += man/nuage-protocol.5
