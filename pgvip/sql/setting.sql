-- Parameter: the setting's name.
SELECT current_setting(%s)
