"""Values that the whole house shares: no I/O, nothing imported from the other rooms."""
